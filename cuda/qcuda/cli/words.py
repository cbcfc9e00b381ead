"""The words of a command line, put right before they are parsed, and what was meant by wrong ones.

A flag may be written with - or _ between its words. A config file is looked at first: what is not
a table of options is refused in one line, and an empty file gives no options.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from qcuda.errors import InputError, require

CONFIG = "--config"


def flags(parser: argparse.ArgumentParser) -> set[str]:
    """Every flag of a parser and of those below it."""
    return {flag for action in parser._actions for flag in _flags(action)}


def _flags(action: argparse.Action) -> Iterator[str]:
    yield from action.option_strings
    if isinstance(action.choices, dict):
        for parser in action.choices.values():
            yield from flags(parser)


def spelled(given: Iterable[str], known: set[str]) -> list[str]:
    """The words, each flag with the - and _ that it has in its parser."""
    exact = {_dashed(flag): flag for flag in sorted(known)}
    made: list[str] = []
    for word in given:
        flag, equals, value = word.partition("=")
        if flag.startswith("--") and flag not in known:
            flag = exact.get(_dashed(flag), flag)
        made.append(flag + equals + value)
    return made


def _dashed(flag: str) -> str:
    return flag.replace("_", "-")


def without_empty_configs(given: list[str]) -> list[str]:
    """The words without config files that hold nothing.

    Raises InputError unless each that is named is a YAML table.
    """
    made: list[str] = []
    rest = iter(given)
    for word in rest:
        flag, equals, path = word.partition("=")
        if flag != CONFIG:
            made.append(word)
            continue
        path = path if equals else next(rest, "")
        if not path or _holds_options(Path(path)):
            made += [CONFIG, path] if path else [CONFIG]
    return made


def _holds_options(path: Path) -> bool:
    import yaml

    if path.is_fifo():  # can be read once, and not here
        return True
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{CONFIG} names a file that can be read, got {path}: {error.strerror}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"{path}: a config is a YAML table, got: {text}") from None
    require(
        values is None or isinstance(values, dict),
        f"{path}: a config is a YAML table of options, got {values!r}",
    )
    return bool(values)


def plain(message: str) -> str:
    """A parser's message about a type as one about a rule: the key, the rule, the value."""
    for kind, rule in (("int", "a whole number"), ("float", "a finite number")):
        message = re.sub(
            rf"""Parser key "(\S+)": Expected a <class '{kind}'>\. Got value: (.*)""",
            rf"\1 is {rule}, got \2",
            message,
        )
    return message


def explained(message: str, known: set[str]) -> str:
    """A parser's message about a word it does not know, with the nearest one it does."""
    choice = re.search(
        r"argument subcommand: invalid choice: '(.*?)' \(choose from (.*)\)", message
    )
    if choice is not None:
        commands = re.findall(r"'(.*?)'", choice[2])
        message = f"a command is one of {', '.join(commands)}, got {choice[1]!r}"
        return message + _meant(choice[1], commands)
    unknown = re.search(r"unrecognized arguments: (--[^\s=]+)", message, re.IGNORECASE)
    return message + (_meant(unknown[1], known) if unknown is not None else "")


def _meant(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
