"""Build every mutant, and see which agreement test catches it.

    python tests/mutants/run.py        prints the table; exit code 1 if one survives

The checks are the agreement tests themselves, called on one library in a forked child: a mutant
may crash or hang, which counts as caught. The unmutated sources and the equivalent rewritings
must pass all of them.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.extend(
    str(Path(__file__).resolve().parents[2] / room)
    for room in (".", "reference", "cuda", "tests/agreement", "tests/mutants")
)

import cpu_room
import test_environment
import test_knife_edge
import test_moves
import test_optimisers
import test_storage
import test_words
from catalogue import EQUIVALENT, MUTANTS, Mutant

from qtheory.algorithms import DST, DeterministicRounding, StochasticRounding
from qtheory.lattice import Lattice
from qtheory.optimisers import SGD, Adam, Momentum
from qtheory.streams import MAX_ELEMENT, Stream

SOURCES = Path(__file__).resolve().parents[2] / "cuda" / "csrc"
FLAGS = "-std=c++17 -O1 -ffp-contract=off -fno-math-errno -fno-trapping-math -pthread -fPIC"
FLAGS += " -fvisibility=hidden -fvisibility-inlines-hidden"
MARCH = {"v1": "x86-64", "v3": "x86-64-v3"}
SYSTEM = (
    "pthread.h",
    "unistd.h",
    "stdint.h",
    "string.h",
    "atomic",
    "condition_variable",
    "mutex",
    "thread",
    "vector",
    "immintrin.h",
)  # compiled once: parsing them is half of a build
SECONDS = 20  # a check that takes longer hangs
UNCHANGED = "(unchanged)"
test_optimisers.SIZES = [1, 3, 64, 1537]  # as many sizes as mutants need


class Outcome(NamedTuple):
    """What happened to one build; caught is None if every check passed."""

    name: str
    caught: str | None
    reason: str


def checks(room: cpu_room.Room) -> Iterator[tuple[str, Callable[[], object]]]:
    """Named calls of agreement tests, the cheap ones first."""
    yield "words: known answers", lambda: test_words.test_known_answers(room)
    yield "words: every number", lambda: test_words.test_each_number_reaches_the_counter(room)
    for offset in (0, 3, 2**34 - 5, MAX_ELEMENT - 149):
        yield (
            "words: streams and offsets",
            lambda o=offset: test_words.test_every_stream_and_offset(room, Stream.READ, o),
        )
    yield "storage: codes", lambda: test_storage.test_the_codes_are_the_published_ones(room)
    yield "storage: pack and unpack", lambda: test_storage.test_pack_and_unpack(room)
    yield "storage: illegal trits", lambda: test_storage.test_illegal_trits_are_counted(room)
    for count in (1, 4, 7):
        yield (
            "storage: padding",
            lambda c=count: test_storage.test_padding_stays_zero_and_neighbours_stay(room, c),
        )
    yield (
        "storage: visible weights",
        lambda: test_storage.test_visible_weights(room, test_storage.LATTICES[0], 1),
    )
    yield "moves: certainty", lambda: test_moves.test_certainty_and_impossibility(room)
    for rule, lattice in (
        (StochasticRounding, Lattice.ternary(0.1)),
        (StochasticRounding, test_moves.LATTICES[-1]),
        (DeterministicRounding, Lattice.z(2)),
        (DST, Lattice.ternary()),
    ):
        yield (
            f"moves: {rule.__name__}",
            lambda r=rule, x=lattice: test_moves.test_every_lattice(room, r, x),
        )
    yield (
        "moves: thresholds",
        lambda: test_moves.test_thresholds_are_the_same_integers(
            room, StochasticRounding, test_moves.LATTICES[4]
        ),
    )
    for levels in ((-1.0, 1.0, 5), (-1.5, 2.5, 5)):
        yield (
            "moves: ties",
            lambda x=levels: test_moves.test_ties_of_deterministic_rounding(room, x),
        )
    yield (
        "moves: word on the threshold",
        lambda: test_moves.test_words_on_the_threshold_of_stochastic_rounding(room),
    )
    yield (
        "moves: largest words",
        lambda: test_moves.test_certainty_holds_for_the_largest_words(
            room, DeterministicRounding, 0
        ),
    )
    yield "knife edge: thresholds", lambda: test_knife_edge.sweep(room)
    for optimiser, moments, gradient in (
        (SGD(0.3), "float32", "bfloat16"),
        (Momentum(0.1), "float32", "float32"),
        (Adam(0.02), "bfloat16", "float32"),
    ):
        yield (
            f"optimisers: {type(optimiser).__name__}, {moments} moments",
            lambda o=optimiser, m=moments, g=gradient: (
                test_optimisers.test_five_iterations_of_every_size(room, o, m, g)
            ),
        )
    for optimiser in (Momentum(0.1), Adam(0.02)):
        yield (
            "optimisers: last bit",
            lambda o=optimiser: test_optimisers.test_the_last_bit_of_every_increment_decides(
                room, o
            ),
        )
    yield "shards", lambda: test_optimisers.test_whole_or_in_pieces(room, "bfloat16", 1)
    yield "many tensors", lambda: test_optimisers.test_many_tensors_in_one_launch(room, 2)
    yield (
        "environment: denormals",
        lambda: test_environment.test_flushed_denormals_of_the_caller(room, 1),
    )
    yield (
        "environment: rounding",
        lambda: test_environment.test_rounding_mode_of_the_caller(room, 1),
    )
    yield "fork", lambda: forked(room)


def forked(room: cpu_room.Room) -> None:
    """Two threads in this process, then in a child of its own."""
    expected = test_environment.walk(room, 4, 2)
    same, ended = in_child(lambda: test_environment.walk(room, 4, 2) == expected, 5)
    assert same, ended


def failing(room: cpu_room.Room) -> str | None:
    """The first check that fails. Any exception is a catch: a broken kernel breaks its caller."""
    for name, check in checks(room):
        try:
            check()
        except Exception as error:  # noqa: BLE001
            return f"{name}|{type(error).__name__}"
    return None


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


def out_of_date(mutants: list[Mutant]) -> list[str]:
    """Mutants whose text is not in its file as often as they say."""
    found = [
        (m, (SOURCES / m.file).read_text().count(m.text) if m.file else m.count) for m in mutants
    ]
    return [
        f"{m.name!r} expects {m.text!r} {m.count} times in {m.file}, got {count}"
        for m, count in found
        if count != m.count
    ]


def mutate(mutant: Mutant, folder: Path) -> None:
    """Copy the sources and replace."""
    for source in SOURCES.rglob("*"):
        if source.suffix in (".h", ".cpp") and "gpu" not in source.parts:
            target = folder / source.relative_to(SOURCES)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source.read_text())
    if mutant.file:
        path = folder / mutant.file
        path.write_text(path.read_text().replace(mutant.text, mutant.replacement))


def compile_(level: str, flags: tuple[str, ...], *files: str) -> None:
    """Run the compiler. Raises ValueError with its message if it refuses."""
    compiler = os.environ.get("CXX", "g++")
    command = [compiler, *FLAGS.split(), f"-march={MARCH[level]}", *flags, *files]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{' '.join(files)} does not compile:\n{done.stderr}")


def precompile(folder: Path) -> None:
    """A header of all system headers for each level, compiled."""
    for level in MARCH:
        header = folder / f"{level}.h"
        header.write_text("".join(f"#include <{name}>\n" for name in SYSTEM))
        compile_(level, ("-x", "c++-header"), "-o", f"{header}.gch", str(header))


def build(mutant: Mutant, folder: Path) -> Path:
    """The library of a mutant. Raises ValueError if it does not compile: that catches nothing."""
    mutate(mutant, folder / "csrc")
    library = folder / f"libqtheory_{mutant.level}.so"
    # A compiled header fits only the flags it was compiled with.
    header = () if mutant.flags else ("-include", str(folder.parent / f"{mutant.level}.h"))
    source = str(folder / "csrc" / "cpu" / "library.cpp")
    compile_(mutant.level, ("-shared", *mutant.flags, *header), "-o", str(library), source)
    return library


def try_out(mutant: Mutant, library: Path) -> Outcome:
    """No self-test on load: `Room` opens the file as it is."""
    os.environ["QTHEORY_LIB"] = str(library.parent)
    value, ended = in_child(lambda: failing(cpu_room.Room(library)), SECONDS)
    if ended is not None:
        return Outcome(mutant.name, "the process", ended)
    caught, _, reason = str(value or "").partition("|")
    return Outcome(mutant.name, caught or None, reason)


def run() -> list[Outcome]:
    """All builds in order: unchanged, equivalent, mutants.

    Raises ValueError if a mutant's text is no longer in the sources, or one does not compile.
    """
    everything = [Mutant(UNCHANGED, "", "", ""), *EQUIVALENT, *MUTANTS]
    if stale := out_of_date(everything):
        raise ValueError("the catalogue follows the sources:\n" + "\n".join(stale))
    outcomes = []
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(os.cpu_count()) as pool:
        folders = [Path(name) / str(k) for k in range(len(everything))]
        precompile(Path(name))
        libraries = list(pool.map(build, everything, folders))
        warm_up(libraries[0])
        for mutant, library in zip(everything, libraries, strict=True):
            outcomes.append(try_out(mutant, library))
    return outcomes


def warm_up(library: Path) -> None:
    """What the reference says is remembered here, once, for all children."""
    test_optimisers.sorted_words()
    room = cpu_room.Room(library)
    for name, check in checks(room):
        if name.startswith("moves"):
            check()


def wrong(outcomes: list[Outcome]) -> list[Outcome]:
    """Mutants that survived, and harmless builds that were caught."""
    harmless = {UNCHANGED, *(m.name for m in EQUIVALENT)}
    return [o for o in outcomes if (o.caught is None) != (o.name in harmless)]


def table(outcomes: list[Outcome]) -> str:
    rows = [f"{'mutant':<42} caught by"]
    rows += [
        f"{o.name:<42} {'-' if o.caught is None else o.caught}"
        + (f" ({o.reason})" if o.reason not in ("", "AssertionError") else "")
        for o in outcomes
    ]
    return "\n".join(rows)


def why_not() -> str | None:
    """Why mutants can not be tried on this machine, or None."""
    if (reason := cpu_room.missing("v3")) is not None:
        return reason
    from shutil import which

    compiler = os.environ.get("CXX", "g++")
    return None if which(compiler) else f"there is no C++ compiler {compiler}"


if __name__ == "__main__":
    if (reason := why_not()) is not None:
        sys.exit(reason)
    results = run()
    print(table(results))
    sys.exit(1 if wrong(results) else 0)
