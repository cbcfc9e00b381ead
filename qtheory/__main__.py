"""`python -m qtheory`: the command `qtheory` of this installation."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points


def main() -> int:
    """Hand over to the command; returns the exit status."""
    missing = "none is installed"
    for command in entry_points(group="console_scripts", name="qtheory"):
        try:
            return command.load()()
        except ModuleNotFoundError as error:
            if error.name != command.module.split(".")[0]:
                raise
            missing = f"its package {error.name} is not there"
    print(
        f"qtheory: the command line is needed, and {missing}: "
        "`pip install .` or `python3 bootstrap.py` in a checkout installs it",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
