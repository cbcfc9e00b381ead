"""Errors that name the rule and the value."""

from __future__ import annotations


class BackendUnavailable(RuntimeError):
    """A kernel library that is needed now cannot be had; the message says why."""
