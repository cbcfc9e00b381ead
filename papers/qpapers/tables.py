"""The ledger as a person reads it, in Markdown, between two markers of `papers/<key>.md`.

Each chapter has a table of four columns and, folded below it, how each of its numbers is matched.
`papers/README.md` has all papers with the counts of their verdicts, between the same markers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from qpapers.kept import Numbers
from qpapers.ledger import Claim, Paper

BEGIN, END = "<!-- ledger: begin -->", "<!-- ledger: end -->"
NOT_RUN = "not run"


def shown(value: float, decimals: int) -> str:
    """A number with so many decimals, without trailing zeros; smaller ones with an exponent.

    >>> shown(0.3117400001, 5), shown(-0.0, 3), shown(2.5e-8, 9), shown(-4.44e-16, 3)
    ('0.31174', '0', '2.5e-08', '-4.4e-16')
    """
    if not math.isfinite(value) or 0 < abs(value) < max(1e-4, 10.0**-decimals):
        return f"{value:.2g}"
    text = f"{value:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.removeprefix("-") if float(text) == 0 else text


def ledger(paper: Paper, kept: Numbers) -> str:
    """The ledger of a paper, chapter by chapter; a claim without numbers says "not run"."""
    parts: list[str] = []
    for chapter in paper.chapters:
        name = chapter.__name__.rpartition(".")[2]
        title = (chapter.__doc__ or name).splitlines()[0].rstrip(".")
        parts += [f"### `{name}`: {title}", table(chapter.CLAIMS, kept), details(chapter.CLAIMS)]
    return "\n\n".join(parts)


def table(claims: Iterable[Claim], kept: Numbers) -> str:
    """Four columns: id, claim, numbers obtained, verdict."""
    lines = ["| id | claim, in our notation | obtained | verdict |", "|" + "---|" * 4]
    for claim in claims:
        values = kept.get(claim.id)
        obtained = NOT_RUN
        if values is not None:
            obtained = ", ".join(shown(value, claim.decimals) for value in values)
        says = NOT_RUN if values is None else claim.says(values)
        lines.append(f"| {claim.id} | {claim.statement} | {obtained} | {says} |")
    return "\n".join(lines)


def details(claims: Iterable[Claim]) -> str:
    """How each claim is matched: the numbers, how near and why, code and test."""
    lines = ["<details><summary>To match, within, because; code and test</summary>", ""]
    for claim in claims:
        sign = "" if claim.relation == "=" else f"{claim.relation} "
        expected = ", ".join(f"{e:g}" for e in claim.expected)
        derived = f" (from {claim.printed_of})" if claim.printed_of else ""
        lines += [
            f"- **{claim.id}** to match: {claim.printed}{derived}",
            f"  - within: {sign}{expected} ± {claim.tolerance:.2g}, because {claim.why}",
            f"  - `{claim.where}`, `{claim.test}`",
        ]
    return "\n".join([*lines, "", "</details>"])


OVERVIEW = (
    "paper",
    "claims",
    "holds",
    "holds corrected",
    "not reproduced",
    NOT_RUN,
    "printed",
    "noted",
    "ours",
    "guards",
)


def overview(papers: Iterable[Paper], kept: Mapping[str, Numbers]) -> str:
    """All papers: claims, their verdicts, whose numbers were to match, and how many are guards."""
    rows = [(f"[{paper.key}]({paper.key}.md)", _counts(paper, kept[paper.key])) for paper in papers]
    total = sum((counts for _, counts in rows), Counter[str]())
    lines = ["| " + " | ".join(OVERVIEW) + " |", "|---" + "|---:" * (len(OVERVIEW) - 1) + "|"]
    for name, counts in (*rows, ("all", total)):
        lines.append("| " + " | ".join([name, *(str(counts[key]) for key in OVERVIEW[1:])]) + " |")
    return "\n".join(lines)


def _counts(paper: Paper, kept: Numbers) -> Counter[str]:
    counts = Counter[str]()
    for claim in paper.claims:
        values = kept.get(claim.id)
        verdict = NOT_RUN if values is None else claim.judge(values)
        counts.update({"claims": 1, verdict: 1, claim.number: 1, "guards": int(claim.guard)})
    return counts


def between_markers(text: str) -> str:
    """What stands between the markers of a note. Raises ValueError if they are not there once."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"a note has one {BEGIN} and, after it, one {END}")
    return text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip("\n")


def with_ledger(text: str, new: str) -> str:
    """The note with another text between its markers. Raises ValueError as `between_markers`."""
    between_markers(text)
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    return f"{before}\n{new}\n{after}"
