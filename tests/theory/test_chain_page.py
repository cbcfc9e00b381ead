"""`help(qtheory.chain)` is a page: every public name is on it, and what is on it exists."""

import inspect
import re
import types

import pytest

import qtheory.chain

PAGE = inspect.getdoc(qtheory.chain) or ""
DEFINITIONS, TABLE = PAGE.split("You may look for")
PUBLIC = {
    name
    for name, value in vars(qtheory.chain).items()
    if not name.startswith("_") and not isinstance(value, types.ModuleType)
}


def listed(text: str) -> set[str]:
    """Names at the start of indented lines, separated by commas, until two spaces or the end."""
    lines = [line.strip() for line in text.splitlines() if re.match(r"    \w", line)]
    heads = [re.split(r"\s{2,}", line)[0] for line in lines]
    return {name for head in heads for name in re.split(r",\s*", head) if name}


def test_every_public_name_is_on_the_page_once_and_exists():
    names = [
        name
        for line in DEFINITIONS.splitlines()
        if re.match(r"    \w", line)
        for name in re.split(r",\s*", re.split(r"\s{2,}", line.strip())[0])
    ]
    assert set(names) == PUBLIC
    assert len(names) == len(set(names))


def test_names_to_look_for_are_not_ours_and_lead_to_ours():
    rows = [re.split(r"\s{2,}", row.strip(), maxsplit=1) for row in TABLE.splitlines()[1:] if row]
    for row in rows:
        asked, answer = row if len(row) == 2 else row[0].rsplit(" ", 1)
        assert not set(re.split(r",\s*", asked)) & PUBLIC, asked
        assert "not here" in answer or set(re.findall(r"\w+", answer)) & PUBLIC, answer
        assert set(re.findall(r"\w+_\w+", answer)) <= PUBLIC, answer


ASKED = """mean_first_passage_times relaxation_time is_aperiodic is_irreducible period simulate
absorption_probabilities entropy_rate eigenvalues stationary_distributions communication_classes
recurrent_classes cyclic_classes committor kemeny_constant fundamental_matrix timescales
stationary_distribution hitting_times mfpt mixing_time spectral_gap"""


@pytest.mark.parametrize("name", ASKED.split())
def test_names_of_other_packages_are_found(name):
    assert name in PUBLIC or re.search(rf"\b{name}\b", TABLE)


def test_a_name_that_is_missing_is_found():
    assert listed("    evolve, no_such    both\n  evolve") == {"evolve", "no_such"}
    assert not listed("    evolve, no_such    both") <= PUBLIC
