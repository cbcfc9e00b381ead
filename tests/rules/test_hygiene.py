"""What no file may hold: too many lines, broad excepts, notes to self, citations of nothing.

Each rule is a function from text to the list of its violations; it must be empty for the
repository and is shown, on a planted violation, not to be empty always.
"""

import ast
import re
from collections.abc import Callable, Iterator

import pytest

Sources = Callable[..., dict[str, str]]
CODE = (".py", ".h", ".cuh", ".cu", ".cpp")
LONGEST = 400
CATCH_ALL = {"tests/mutants/forks.py"}  # whatever a broken build raises is a catch
SCRIPTS = {"tests/conftest.py", "tests/mutants/package_checks.py", "tests/mutants/run.py"}
BIBLIOGRAPHY = "papers/references.bib"


def long_file(path: str, text: str) -> list[str]:
    """A file of more lines than a reader holds in mind."""
    lines = text.count("\n")
    return [f"{path} has {lines} lines"] if lines > LONGEST else []


def note_to_self(path: str, text: str) -> list[str]:
    """Words that promise to do something later."""
    words = re.compile("|".join(rf"\b{word}\b" for word in ("TO" + "DO", "FIX" + "ME")))
    lines = enumerate(text.splitlines(), start=1)
    return [f"{path}:{number}" for number, line in lines if words.search(line)]


def broad_except(path: str, text: str) -> list[str]:
    """Handlers, or suppressions, of every exception at once, unless they raise it, or from it."""
    broad = {"Exception", "BaseException"}
    violations: list[str] = []
    read = path.endswith(".py") and path not in CATCH_ALL and re.search("except|suppress", text)
    for node in ast.walk(ast.parse(text)) if read else ():
        if isinstance(node, ast.ExceptHandler):
            last = ast.unparse(node.body[-1])
            if last == "raise" or (
                last.startswith("raise ") and last.endswith(f" from {node.name}")
            ):
                continue
            caught = [node.type]
            if isinstance(node.type, ast.Tuple):
                caught = list(node.type.elts)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            caught = list(node.args)
        else:
            continue
        if any(c is None or ast.unparse(c) in broad for c in caught):
            violations.append(f"{path}:{node.lineno}")
    return violations


def changed_path(path: str, text: str) -> list[str]:
    """Changes of sys.path, by others than scripts: pyproject.toml says where tests look."""
    if "sys.path" not in text or not path.startswith("tests/") or path in SCRIPTS:
        return []
    changes = re.compile(r"sys\.path(\.(append|extend|insert)\(|(\[.*\])? \+?= )")
    statements = (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.stmt))
    return [f"{path}:{n.lineno}" for n in statements if changes.match(ast.unparse(n))]


FILE_RULES = [long_file, note_to_self, broad_except, changed_path]


@pytest.mark.parametrize("rule", FILE_RULES)
def test_files_are_clean(rule: Callable[[str, str], list[str]], sources: Sources):
    files = sources(*CODE)
    assert {"bootstrap.py", "cuda/csrc/core.h"} <= set(files)
    assert [v for path, text in files.items() for v in rule(path, text)] == []


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (changed_path, "import sys\nsys.path.insert(0, 'a')"),
        (changed_path, "if True:\n    sys.path[:0] = ['a']"),
        (long_file, "x = 1\n" * (LONGEST + 1)),
        (note_to_self, "x = 1  # TO" + "DO(me): more"),
        (note_to_self, "# FIX" + "ME"),
        (broad_except, "try:\n    f()\nexcept:\n    pass"),
        (broad_except, "try:\n    f()\nexcept (OSError, Exception) as error:\n    pass"),
        (broad_except, "with contextlib.suppress(BaseException):\n    f()"),
        (broad_except, "try:\n    f()\nexcept Exception as e:\n    raise ValueError() from None"),
    ],
)
def test_an_unclean_file_is_found(rule: Callable[[str, str], list[str]], text: str):
    assert len(rule("tests/planted.py", text)) == 1


def test_a_clean_file_is_let_pass():
    text = "x = 1\n" * (LONGEST - 3) + "try:\n    f()\nexcept OSError:\n"
    assert long_file("a.py", text) == []
    assert broad_except("a.py", text + "    pass") == []
    assert broad_except("a.py", "try:\n    f()\nexcept BaseException:\n    g()\n    raise") == []
    assert broad_except("a.py", "try:\n    f()\nexcept Exception as e:\n    raise E() from e") == []
    assert note_to_self("a.py", "METHODOLOGY = TODOS") == []
    assert changed_path("tests/a.py", "x = 'sys.path[:0] = []'\ny = [*sys.path]") == []


# Citations, as in [deng2018, Eq. (3)] or [gupta2015; deng2018]


def documentation(path: str, text: str) -> Iterator[str]:
    """Docstrings of a Python file, the comments of a kernel's; nothing if none has a citation."""
    if not cited(text):
        return
    if not path.endswith(".py"):
        yield from re.findall(r"//.*", text)
        return
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented):
            yield ast.get_docstring(node) or ""


def cited(text: str) -> set[str]:
    """Keys cited in a piece of documentation: a name in small letters and a year."""
    brackets = re.findall(r"\[([a-z]+\d{4}[a-z]?\b[^\]]*)\]", text)
    return {key for inside in brackets for key in re.findall(r"\b[a-z]+\d{4}[a-z]?\b", inside)}


def entries(bibliography: str) -> set[str]:
    """Keys that a BibTeX file defines."""
    return set(re.findall(r"^\s*@\w+\{\s*([^,\s]+)\s*,", bibliography, re.MULTILINE))


def unresolved(files: dict[str, str], bibliography: str) -> list[str]:
    """Citations that no entry of the bibliography answers."""
    known = entries(bibliography)
    return [
        f"{path} cites {key}"
        for path, text in files.items()
        for key in sorted(set().union(*map(cited, documentation(path, text))) - known)
    ]


def test_citations_resolve(sources: Sources):
    files = {p: t for p, t in sources(*CODE).items() if not p.startswith("tests/rules/")}
    assert any(cited(d) for path, text in files.items() for d in documentation(path, text))
    assert unresolved(files, sources(".bib").get(BIBLIOGRAPHY, "")) == []


def test_a_citation_of_nothing_is_found():
    bibliography = "@article{deng2018,\n title={x}}\n@misc{ gupta2015 ,"
    files = {
        "a.py": '"""Rule [deng2018, Eq. (3)]."""\ndef f():\n    """See [gupta2015; none2020b]."""',
        "a.h": "// as in [ghost1999]\nint x[1000];",
    }
    assert unresolved(files, bibliography) == ["a.py cites none2020b", "a.h cites ghost1999"]
