"""Mutants of the Python packages: a copy with the mistake, and the tests that import the copy.

    cd tests; python -m mutants.package_checks [--statistics] [--training] [--sample]

prints the outcomes as JSON, with --training those of the training job's mutants. --sample tries
a few, and asks of what is unchanged only the checks that caught one.

It is a process of its own, which has imported none of the packages: each child imports the copy
it is given. Test files are loaded by their path, as two of them may have one name.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

import hypothesis
import torch
from mutants import (
    data_checks,
    memory_checks,
    optimizer_checks,
    reader_checks,
    stair_checks,
    training,
    training_checks,
)
from mutants.builds import ROOT, out_of_date
from mutants.catalogue import Mutant, few
from mutants.forks import Outcome, Verdict, caught_by, judge, try_out
from mutants.packages import EQUIVALENT, MUTANTS

TESTS = Path(__file__).resolve().parents[1]
FOLDERS = ("qtheory", "reference/qreference", "cuda/qcuda")
UNCHANGED, TRAINING_UNCHANGED = "(packages unchanged)", "(training unchanged)"
# What children would import each for itself, two thirds of the time of most; torch._dynamo comes
# with the first step of an optimiser.
ONCE = ("jaxtyping", "matplotlib.pyplot", "pytest", "scipy.ndimage", "scipy.stats", "sympy", "yaml")
ONCE += ("sklearn.datasets", "torch._dynamo")
SECONDS = 120  # a child that takes longer hangs
STEPS = ("qcuda/optimizer.py", *(f"step/{p.name}" for p in (ROOT / "cuda/qcuda/step").glob("*.py")))
LATER = "test_slots_that_rest_and_groups_that_come_later_keep_their_own_numbers"


def load(path: str) -> ModuleType:
    """A test file as a module."""
    spec = importlib.util.spec_from_file_location(path.replace("/", "_"), TESTS / f"{path}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def stems() -> list[str]:
    from qtheory.algorithms import walkers

    return list(walkers())


def coins() -> list[str]:
    from qtheory.algorithms import contract

    return [stem for stem in stems() if contract(stem).destinations == "coin"]


def exact(room: str) -> Iterator:
    """What a mistake in the room could break: the torch side has no part in the laws."""
    if room != "qcuda":
        yield from increments()
    if room not in ("qcuda", "qreference"):
        yield from laws()
    if room != "qreference":
        yield from runs()


def increments() -> Iterator:
    optimisers = load("reference/test_optimisers")
    for optimiser in optimisers.OPTIMISERS:
        yield (
            "torch's own increments",
            lambda o=optimiser: optimisers.test_increments_are_those_of_torch_in_float64(o),
        )


def laws() -> Iterator:
    law, coin = load("conformance/test_law"), load("conformance/test_coin")
    for stem in stems():
        yield "a law is a pmf", lambda s=stem: law.test_it_sums_to_one(name=s)
    for stem in coins():
        yield (
            "sign of a move",
            lambda s=stem: coin.test_moves_have_the_sign_of_the_increment(stem=s),
        )
        yield (
            "whole spacings are certain",
            lambda s=stem: coin.test_whole_spacings_are_certain(stem=s),
        )


def runs() -> Iterator:
    training = load("conformance/test_training")
    for stem in stems()[:2]:
        yield "no word twice", lambda s=stem: training.test_no_word_is_used_twice_in_a_run(stem=s)
        yield (
            "resumed runs",
            lambda s=stem: training.test_a_resumed_run_is_the_uninterrupted_one(stem=s),
        )
    resume = load("qcuda/test_resume")
    yield "a loaded state is a copy", resume.test_a_loaded_state_is_a_copy
    for kind in ("float32", "bfloat16"):
        yield "saved types", lambda k=kind: resume.test_saved_tensors_have_their_own_types(k)


def law() -> Iterator:
    """Law = reference, by enumeration."""
    plain, coin = load("conformance/test_reference"), load("conformance/test_coin")
    thresholds = plain.test_thresholds_are_the_laws_probabilities_to_the_last_integer
    divides = coin.test_the_threshold_divides_the_words_that_move_from_those_that_do_not
    for stem in coins():
        yield "enumeration of words", lambda s=stem: plain.test_step_has_the_law(stem=s)
        yield (
            "NaN and infinities",
            lambda s=stem: coin.test_steps_by_nothing_stay_and_by_infinity_go_to_the_ends(s),
        )
        yield "words at the threshold", lambda s=stem: divides(stem=s)
        yield "thresholds", lambda s=stem: thresholds(stem=s)
    for stem in stems():
        yield "NaN", lambda s=stem: plain.test_nan_does_not_move(s)
    for stem in sorted(set(stems()) - set(coins())):
        yield "enumeration of words", lambda s=stem: plain.test_step_has_the_law(stem=s)
        yield "thresholds", lambda s=stem: thresholds(stem=s)


def agreement() -> Iterator:
    training, optimizer = load("conformance/test_training"), load("qcuda/test_optimizer")
    yield "stored bytes", training.test_both_rooms_store_the_same_bytes
    yield "words on request", training.test_words_on_request_are_the_references
    for stem in stems():
        yield "shards", lambda s=stem: training.test_a_shard_draws_what_the_whole_would(stem=s)
        yield (
            "training steps",
            lambda s=stem: training.test_the_optimiser_takes_the_plain_training_step(stem=s),
        )
        yield (
            "slots that rest, groups that come later",
            lambda s=stem: getattr(training, LATER)(stem=s),
        )
    yield "numbers of tensors", optimizer.test_tensors_are_numbered_in_the_order_given
    yield "numbers of groups", optimizer.test_groups_have_numbers_of_their_own
    yield "later groups", optimizer.test_a_group_that_comes_later_counts_its_own_iterations
    for base in optimizer.BASES:
        for moments in ("float32", "bfloat16"):
            yield (
                "twenty iterations",
                lambda b=base, m=moments: optimizer.test_slots_follow_the_plain_training_step(b, m),
            )
    words = load("reference/test_optimisers")
    yield (
        "bits of moments",
        lambda: words.test_train_step_is_its_parts(words.OPTIMISERS[2], "bfloat16"),
    )


def stairs(room: str) -> list:
    """Ladders of noisy stairs: those of torch have no part in the reference's law."""
    ladders = [("law", stair_checks.law(load)), ("agreement", stair_checks.agreement(load))]
    exact = ("exact", stair_checks.exact(load))
    return {"qreference": ladders, "qcuda": [exact, ladders[1]]}.get(room, [exact, *ladders])


def opinion(room: str) -> str | None:
    """The battery's, of training and, where laws are imported from the copy, of the kernels.

    It looks at the moves of kernels only: a mistake in the reference is none of its business.
    """
    if room == "qreference":
        return None
    import cpu_room
    from mutants import battery

    kernels = None if room == "qcuda" else battery.failing(cpu_room.find_level("v3"))
    return kernels or battery.failing_training()


def inside(folder: Path, mutant: Mutant, statistics: bool, only: set[str] | None) -> Verdict:
    """In a child: the packages of `folder` and no others."""
    room = room_of(mutant)
    torch.set_num_threads(1)
    hypothesis.settings.register_profile(
        "mutants", derandomize=True, database=None, deadline=None,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
    )  # fmt: skip
    hypothesis.settings.load_profile("mutants")
    sys.meta_path.insert(0, PathFinder)  # before the finder of an installation in place
    for package in FOLDERS:
        sys.path.insert(0, str((folder / package).parent))
    for name in ("qtheory", "qreference", "qcuda"):
        found = importlib.util.find_spec(name)
        assert found is not None and Path(str(found.origin)).is_relative_to(folder), found
    if mutant.name in TRAINING:
        return judge([("training", training_checks.checks(load))], only=only)
    if reader_checks.concerned(mutant.file):
        return judge(reader_checks.ladders(load, room), only=only)
    ladders = [("exact", exact(room)), ("law", law()), ("agreement", agreement())]
    if room == "qcuda":
        ladders.pop(1)
    if mutant.file.endswith(STEPS) or not mutant.file:
        ladders.append(("exact", optimizer_checks.exact(load)))
    if mutant.file.startswith(data_checks.PLACE):
        return judge([("exact", data_checks.exact(load))], only=only)
    if mutant.file.startswith(memory_checks.PLACE) or mutant.file.endswith("kept.py"):
        return judge([("exact", memory_checks.exact(load))], only=only)
    if mutant.file.endswith(("stairs.py", "activations.py", "fused.py")):
        return judge(stairs(room), only=only)
    if not mutant.file:
        ladders += [*stairs(room), *reader_checks.ladders(load, room)]
        ladders += [("exact", checks.exact(load)) for checks in (memory_checks, data_checks)]
    return judge(ladders, (lambda: opinion(room)) if statistics else None, only)


def copy(mutant: Mutant, folder: Path) -> None:
    """The packages, one mistake among them."""
    for package in FOLDERS:
        shutil.copytree(ROOT / package, folder / package)  # with what Python compiled
    (folder / "cuda" / "csrc").symlink_to(ROOT / "cuda" / "csrc")  # which lists the algorithms
    if mutant.file:
        path = folder / mutant.file
        path.write_text(path.read_text().replace(mutant.text, mutant.replacement))


def room_of(mutant: Mutant) -> str:
    return next((f.split("/")[-1] for f in FOLDERS if mutant.file.startswith(f)), "all")


def harmless(job: bool) -> list[Mutant]:
    """Unchanged and equivalent; of the training job, or of the rest."""
    if job:
        return [Mutant(TRAINING_UNCHANGED, "", "", ""), *training.EQUIVALENT]
    return [Mutant(UNCHANGED, "", "", ""), *EQUIVALENT]


TRAINING = {mutant.name for mutant in (*harmless(True), *training.MUTANTS)}


def run(same: list[Mutant], mutants: list[Mutant], statistics: bool, whole: bool) -> list[Outcome]:
    """In their order. Raises ValueError if a text is no longer in its file.

    whole: ask all checks of what is harmless, not only those that caught a mutant.
    """
    everything = [*same, *mutants]
    if stale := out_of_date(everything, ROOT):
        raise ValueError("the catalogue follows the sources:\n" + "\n".join(stale))
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as pool:
        folders = {mutant.name: Path(name) / str(k) for k, mutant in enumerate(everything)}
        for mutant in everything:
            copy(mutant, folders[mutant.name])

        def one(mutant: Mutant, only: set[str] | None = None) -> Outcome:
            action = lambda: inside(folders[mutant.name], mutant, statistics, only)  # noqa: E731
            return try_out(mutant.name, room_of(mutant), action, SECONDS)

        tried = list(pool.map(one, mutants))
        only = None if whole else caught_by(tried)
        return [*pool.map(lambda mutant: one(mutant, only), same), *tried]


if __name__ == "__main__":
    os.environ.setdefault("QTHEORY_LIB", str(ROOT / "build" / "native"))
    for module in ONCE:
        importlib.import_module(module)
    job, part = "--training" in sys.argv[1:], "--sample" in sys.argv[1:]
    chosen = training.MUTANTS if job else MUTANTS
    tried = few(chosen) if part else chosen
    same = harmless(job)[: 1 if part else None]
    print(json.dumps(run(same, tried, "--statistics" in sys.argv[1:], not part)))
