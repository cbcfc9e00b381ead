"""The kernels' source as one text, and the flags that keep its arithmetic exact.

One text, because a run-time compiler has no include path, and because its hash then says
whether an image was made from these sources.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

# IEEE arithmetic: nothing fused, denormals kept, division and root correctly rounded.
EXACT = ("--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true", "--std=c++17")

_HERE = Path(__file__).resolve().parent
# A checkout has the sources beside the package, an installation inside it.
PLACES = (_HERE.parents[2] / "csrc", _HERE.parents[1] / "_native" / "csrc")

_INCLUDE = re.compile(r'^[ \t]*#include "([^"]+)"[^\n]*$', re.MULTILINE)


def kernels() -> Path:
    """Where kernels.cu is. Raises FileNotFoundError that names the places."""
    for place in PLACES:
        path = place / "gpu" / "kernels.cu"
        if path.is_file():
            return path
    places = ", ".join(str(place / "gpu" / "kernels.cu") for place in PLACES)
    raise FileNotFoundError(f"the kernels' source is one of {places}; neither is a file")


def one_text(path: Path) -> str:
    """The file with every #include "..." replaced by the file it names, each once."""
    seen: set[Path] = set()

    def expand(file: Path) -> str:
        if file in seen:
            return ""
        seen.add(file)
        text = file.read_text(encoding="utf-8").replace("#pragma once\n", "")
        return _INCLUDE.sub(lambda match: expand((file.parent / match.group(1)).resolve()), text)

    return expand(path.resolve())


def digest(text: str) -> str:
    """What names an image: a hash of source and flags."""
    return hashlib.sha256("\n".join((*EXACT, text)).encode()).hexdigest()
