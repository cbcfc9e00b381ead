"""An error names the rule that was broken, and then the value that broke it.

The rule is a function from text to the list of its violations; it must be empty for the
repository and is shown, on planted violations, not to be empty always.
"""

import ast
import re
from collections.abc import Callable

import pytest

Sources = Callable[..., dict[str, str]]
ROOMS = ("qtheory/", "reference/qreference/", "cuda/qcuda/")


def mute_error(path: str, text: str) -> list[str]:
    """Each `raise ValueError` of fixed words without ", got ": it does not say what was given."""
    return [
        f"{path}:{node.lineno}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Raise)
        and re.match(r"ValueError\b(?!\(f|.*, got )", ast.unparse(node.exc or node))
    ]


def test_errors_name_the_value(sources: Sources):
    files = {path: text for path, text in sources(".py").items() if path.startswith(ROOMS)}
    assert "qtheory/chain/markov.py" in files
    assert [v for path, text in files.items() for v in mute_error(path, text)] == []


@pytest.mark.parametrize(
    "text", ["raise ValueError('a scale is > 0')", "def f():\n    raise ValueError"]
)
def test_a_mute_error_is_found(text: str):
    assert len(mute_error("a.py", text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "raise ValueError(f'a scale is > 0, got {scale}')",
        "raise ValueError('a committor needs a source, got none')",
        "raise RuntimeError('not compiled')",
        "try:\n    f()\nexcept ValueError:\n    raise",
    ],
)
def test_an_error_that_speaks_is_let_pass(text: str):
    assert mute_error("a.py", text) == []
