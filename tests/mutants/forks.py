"""Trying a mutant out: checks are run in a forked child, which may crash or hang."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Container, Iterable
from typing import NamedTuple

import pytest

Ladder = tuple[str, Iterable[tuple[str, Callable[[], object]]]]


class Outcome(NamedTuple):
    """What happened to one build; caught is None if every check passed."""

    name: str
    room: str
    caught: str | None  # ladder: check
    seconds: float  # processor time from the first check until caught
    statistics: str | None  # what the battery alone says; None: it passes, or was not asked
    reason: str = ""


class Verdict(NamedTuple):
    """What a child reports."""

    caught: str | None
    seconds: float
    reason: str
    statistics: str | None


def judge(
    ladders: Iterable[Ladder],
    battery: Callable[[], str | None] | None = None,
    only: Container[str] | None = None,
) -> Verdict:
    """The first check that fails, and the battery's opinion if there is one.

    only: the checks to ask, each as an outcome names it; None for all of them.
    Any exception is a catch: a broken kernel breaks its caller, and what was to raise did not.
    """
    start = time.process_time()
    caught, reason = None, ""
    for ladder, checks in ladders:
        for name, check in checks:
            if only is not None and f"{ladder}: {name}" not in only:
                continue
            try:
                check()
            except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001
                caught, reason = f"{ladder}: {name}", type(error).__name__
                break
        if caught is not None:
            break
    seconds = time.process_time() - start
    try:
        alone = None if battery is None else battery()
    except Exception as error:  # noqa: BLE001
        alone = type(error).__name__
    return Verdict(caught, seconds, reason, alone)


def in_child(action: Callable[[], object], seconds: float) -> tuple[object, str | None]:
    """The action's value from a forked child, and how the child ended badly, if it did."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=lambda: send.send(action()))
    child.start()
    send.close()
    try:
        if not receive.poll(seconds):
            child.kill()
            return None, "hangs"
        return receive.recv(), None
    except EOFError:
        child.join()
        return None, f"ends with {child.exitcode}"
    finally:
        child.join()


def try_out(name: str, room: str, action: Callable[[], Verdict], limit: float) -> Outcome:
    """A child's verdict as an outcome; to crash or to hang is to be caught."""
    start = time.perf_counter()
    verdict, ended = in_child(action, limit)
    if not isinstance(verdict, Verdict):
        return Outcome(name, room, "the process", time.perf_counter() - start, None, str(ended))
    return Outcome(name, room, verdict.caught, verdict.seconds, verdict.statistics, verdict.reason)


def caught_by(outcomes: Iterable[Outcome]) -> set[str]:
    """The checks that caught something."""
    return {outcome.caught for outcome in outcomes if outcome.caught is not None}
