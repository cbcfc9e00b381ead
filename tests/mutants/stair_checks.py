"""Checks that a mistake in noisy stairs could break: exact, law = reference, agreement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

Load = Callable[[str], ModuleType]
FAMILIES = ("uniform", "triangular", "normal", "logistic")
FORWARDS = ("expectation", "mode", "random")
NOISES = ((0.7, 0.0), (0.25, -0.3))
TIES = ("up", "down", "away")


def exact(load: Load) -> Iterator:
    """What torch's stairs owe to nobody else: their own differences, the stair, repeated draws."""
    tests, faults = load("qcuda/stairs/test_stairs"), load("qcuda/stairs/test_faults")
    yield "the same draws", tests.test_the_same_numbers_give_the_same_draws
    yield "ends of windows", lambda: _windows(faults)
    yield "NaN", tests.test_nan_is_handed_on
    yield "bits of the multi-step activation", lambda: _bits(load("qcuda/test_activations"))
    kernels, fused = load("qcuda/stairs/test_kernels"), load("qcuda/stairs/test_fused")
    yield "windows of triangles", lambda: _bits(load("qcuda/test_activations"), "triangular")
    yield "strides", lambda: kernels.test_strides_are_kept_and_change_no_bit(2, "rectangular")
    yield "torch.func", lambda: kernels.test_torch_func(1, "rectangular")
    yield "second derivatives", lambda: kernels.test_second_derivatives_are_refused("rectangular")
    for momentum in (0.1, None):
        yield "batch norm", lambda m=momentum: fused.test_it_is_the_pair(2, m, True, False)
    yield "fusion in place", fused.test_a_model_is_fused_in_place_and_keeps_its_keys
    yield "watched pairs", fused.test_pairs_that_somebody_watches_are_left
    for family in FAMILIES:
        yield "differences", lambda f=family: tests.test_gradcheck_of_the_expectation(f)
        yield (
            "tiny scales",
            lambda f=family: tests.test_tiny_scales_and_huge_inputs_have_no_nan(f, "mode"),
        )
        for tie in TIES:
            yield (
                "stairs without noise",
                lambda f=family, t=tie: (
                    tests.test_without_noise_it_is_the_stair_and_nothing_flows_back(f, "mode", t)
                ),
            )
    network = load("qcuda/stairs/test_network")
    yield "rows of a batch", network.test_ranks_and_microbatches_draw_what_the_whole_batch_would


def _bits(activations: ModuleType, window: str = "rectangular") -> None:
    import torch

    test = activations.test_bits_are_those_of_the_published_formulas
    for order in (0, 2):
        test(order, window, (0.5, 0.5), torch.float32)


def _windows(faults: ModuleType) -> None:
    import torch

    faults.test_ends_of_uniform_windows_are_counted_once(torch.float32)


def law(load: Load) -> Iterator:
    """The plain stairs against the smoothed stairs of the theory."""
    tests = load("reference/test_stairs")
    yield "ends of windows of the reference", tests.test_a_window_counts_one_of_its_ends
    for family in FAMILIES:
        for noise in NOISES:
            for name, test in (
                ("smoothed stairs", tests.test_it_is_the_smoothed_stair),
                ("levels by every word", tests.test_levels_drawn_by_all_words_have_the_law),
                ("most probable levels", tests.test_the_mode_is_the_most_probable_level),
            ):
                yield name, lambda t=test, f=family, n=noise: t(f, *n)
        yield (
            "words at the thresholds",
            lambda f=family: tests.test_words_are_compared_with_whole_numbers(f),
        )
        yield (
            "types and NaN",
            lambda f=family: tests.test_types_are_kept_and_nan_is_handed_on(f),
        )
    for tie in TIES:
        for forward in ("hard", "expectation"):
            yield (
                "stairs at scale 0",
                lambda t=tie, f=forward: tests.test_scale_zero_is_the_stair_itself(t, f),
            )


def agreement(load: Load) -> Iterator:
    """torch's stairs against the plain ones, and against the laboratory's networks."""
    tests, network = load("qcuda/stairs/test_stairs"), load("qcuda/stairs/test_network")
    operators = load("qcuda/test_operators")
    yield "words of stairs", lambda: operators.test_opcheck_of_the_words(2**64 - 1)
    for family in FAMILIES:
        for noise in NOISES:
            for name, test in (
                ("expectations", tests.test_expectations_are_the_references),
                ("modes", tests.test_modes_are_the_references_away_from_ties),
                ("draws", tests.test_draws_are_the_references_but_at_the_knife_edge),
            ):
                yield name, lambda t=test, f=family, n=noise: t(f, *n, "float64")
            test = tests.test_derivatives_in_scale_and_mean_are_the_references
            yield "slopes in scale and mean", lambda t=test, f=family, n=noise: t(f, *n)
        for forward in FORWARDS:
            test = network.test_gradients_are_the_laboratorys
            yield "laboratory", lambda t=test, f=family, g=forward: t(f, g)
    faults = load("qcuda/stairs/test_faults")
    yield "words on a threshold of stairs", lambda: _edges(faults)
    yield "equal probabilities", lambda: _equals(faults)


def _equals(faults: ModuleType) -> None:
    import torch

    faults.test_equal_probabilities_have_one_rule("uniform", torch.float32)


def _edges(faults: ModuleType) -> None:
    import torch

    faults.test_words_at_a_threshold_stay_below_it(torch.float32)
