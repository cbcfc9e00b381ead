"""Errors that name the rule and the value."""

from __future__ import annotations


class BackendUnavailable(RuntimeError):
    """A kernel library that is needed now cannot be had; the message says why."""


class InputError(ValueError):
    """Input that breaks a rule. The message is one line: the rule, then the value."""


def require(rule: bool, message: str) -> None:
    """Raise InputError with the message unless the rule holds."""
    if not rule:
        raise InputError(message)
