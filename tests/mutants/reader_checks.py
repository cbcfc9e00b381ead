"""Checks that a mistake in readers could break: exact, law = reference, agreement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

Load = Callable[[str], ModuleType]
FILES = (
    "nn/reading.py", "nn/reader.py", "nn/freezing.py", "nn/latent.py",
    "qreference/reader.py", "algorithms/reader.py",
)  # fmt: skip


def concerned(file: str) -> bool:
    """Whether a file of the packages is what these checks look at: shared, or a reader's own."""
    from qtheory.algorithms import readers

    return file.endswith(FILES) or any(file.endswith(f"algorithms/{s}.py") for s in readers())


def ladders(load: Load, room: str) -> list[tuple[str, Iterator]]:
    """Those of a room, in the order in which they are asked."""
    found = {"exact": exact, "law": law, "agreement": agreement}
    if room == "qcuda":
        del found["law"]
    if room == "qreference":
        del found["agreement"]
    return [(name, checks(load)) for name, checks in found.items()]


def exact(load: Load) -> Iterator:
    """Each reader by hand, and mistakes of public code."""
    of = {
        name: load(f"theory/algorithms/test_{name}")
        for name in ("binary_connect", "xnor_net", "ternary_weights", "learned_steps", "ana", "inq")
    }
    yield "hard sigmoid", of["binary_connect"].test_a_random_sign_has_the_hard_sigmoid
    yield "gradients of BWN", of["xnor_net"].test_printed_exact_and_released_gradients_by_hand
    yield "weights on a threshold", of["ternary_weights"].test_a_weight_on_the_threshold_is_0
    yield "gains of TTQ", of["ternary_weights"].test_two_learned_gains_and_their_gradients_by_hand
    yield "gradients of a step", of["learned_steps"].test_the_step_gradient_has_three_cases
    for name in ("ana", "inq"):
        for key, check in of[name].DEFECTS.items():
            yield f"mistakes of public code: {name} {key}", check
    largest = of["inq"].test_the_largest_level_is_that_of_the_largest_weight
    yield "largest weights", lambda: largest(0.74, 0.5)
    for bits in (2, 3, 5):
        yield "powers of two", lambda b=bits: of["inq"].test_the_rule_is_the_published_one(b)
    yield from masks(load)
    yield from frozen(load)


def masks(load: Load) -> Iterator:
    pruned = load("theory/algorithms/test_prune_quantize")
    yield "shares of zeros", lambda: pruned.test_a_share_of_the_smallest_weights_is_pruned(0.7)
    yield "scores", pruned.test_scores_choose_weights_that_do_not_change
    yield "learned thresholds", pruned.test_a_learned_threshold_by_hand
    relaxed = load("theory/algorithms/test_relaxed_quantization")
    yield "first numbers", relaxed.test_first_numbers
    yield (
        "ends that are cut",
        lambda: relaxed.test_the_law_is_that_of_bins_cut_off_and_renormalised(2),
    )
    yield "means", relaxed.test_the_mean_is_shown_and_levels_are_drawn


def frozen(load: Load) -> Iterator:
    """Models of torch; the optimiser brings momentum and decay."""
    import torch

    from qtheory.algorithms.reader import ORDERS

    freezing, models = load("qcuda/test_freezing"), load("qcuda/test_latent_models")
    for order in ORDERS:
        test = freezing.test_the_partition_is_the_definition
        yield "partitions", lambda t=test, o=order: t(o, torch.float64)
    yield "thawing", freezing.test_a_small_frozen_weight_thaws_where_all_are_sorted_anew
    yield "units of frozen levels", freezing.test_levels_stay_when_free_weights_outgrow_them
    yield "evaluation", freezing.test_a_noise_is_annealed_and_validation_leaves_it
    yield "shares turned", freezing.test_a_schedule_turns_the_share_of_zeros
    stay = models.test_learned_steps_and_scales_stay_positive
    yield "learned numbers", lambda: stay("LSQ, ternary")
    yield (
        "momentum and decay",
        lambda: freezing.test_no_optimiser_moves_a_frozen_weight(
            lambda p: torch.optim.SGD(p, 0.5, momentum=0.9, weight_decay=0.1)
        ),
    )


def law(load: Load) -> Iterator:
    """The plain reader against the exact law, and its slopes against windows."""
    from qtheory.algorithms import readers

    tests = load("conformance/test_reader")
    slopes = tests.test_the_slope_in_a_latent_is_the_window_times_the_factor
    cut = tests.test_slopes_of_cut_noise_are_those_of_the_exact_mean
    threshold = tests.test_a_learned_threshold_feels_what_is_near_it
    for name, stems, test in (
        ("laws of readers", readers(), tests.test_what_is_read_has_the_law),
        ("slopes of readers", readers(), slopes),
        ("slopes of cut ends", tests.CUT, cut),
        ("slopes of thresholds", tests.THRESHOLD, threshold),
    ):
        for stem in stems:
            yield name, lambda t=test, s=stem: t(stem=s)


def agreement(load: Load) -> Iterator:
    """Torch's readers against the plain ones, in float64 and where kernels do not read."""
    import torch

    from qtheory.algorithms import readers, rows

    tests = load("qcuda/test_reading")
    for row in rows().values():
        test = tests.test_published_methods_are_the_references_in_float64
        yield "published methods", lambda t=test, r=row: t(r)
    for stem in readers():
        test = tests.test_what_is_seen_and_its_slopes_are_the_references
        yield "readers of torch", lambda t=test, s=stem: t(stem=s, dtype=torch.float32)
