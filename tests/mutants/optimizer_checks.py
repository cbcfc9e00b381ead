"""The checks of torch's optimiser around the kernels: its own tests, called on a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

import pytest


def exact(load: Callable[[str], ModuleType]) -> Iterator:
    """Identities that need no second implementation: wholeness, counts, copies, numbers."""
    whole = load("qcuda/optimizer/test_whole_or_nothing")
    bad, saved = load("qcuda/optimizer/test_nonfinite"), load("qcuda/optimizer/test_saved")
    numbers = load("qcuda/optimizer/test_numbers")
    schedulers, states = load("qcuda/optimizer/test_schedulers"), load("qcuda/test_bad_input")
    last = whole.test_an_error_in_the_last_group_changes_nothing_in_the_first
    for name in ("a sparse gradient", "missing kernels", "decay of lattice weights"):
        yield "all or nothing", lambda n=name: patched(lambda p: last(n, whole.BASES[2], p))
    for where in ("lattice", "real"):
        yield (
            "skipped steps",
            lambda w=where: bad.test_skip_changes_nothing_and_counts(bad.BASES[1], bad.NAN, w),
        )
    yield "notes of a scaler", lambda: patched(lambda p: scaler(bad, p))
    for base in saved.BASES:
        yield (
            "counts and moments come back",
            lambda b=base: saved.test_counts_and_moments_come_back_with_or_without_names(
                b, (True, False)
            ),
        )
    yield "zeroed gradients", saved.test_zeroed_gradients_move_what_moments_still_ask
    yield "names in order", saved.test_a_state_of_parameters_in_another_order_is_refused
    for name in ("a moment that is NaN", "a negative mean of squares"):
        yield (
            "altered states",
            lambda n=name: states.test_an_altered_optimiser_state_is_refused_whole(n),
        )
    yield "seeds", numbers.test_optimisers_without_a_seed_have_seeds_of_their_own
    yield "counts of slots", numbers.test_counts_are_of_their_own_slots
    yield "kinds of groups", numbers.test_groups_differ_in_spec_lattice_and_storage
    for base in (numbers.SGD(0.1), numbers.Adam(0.1)):
        yield "decay", lambda b=base: numbers.test_weight_decay_is_decoupled(b, None)
    yield "other types", numbers.test_gradients_of_other_types_are_read_as_float32
    rates = schedulers.test_rates_are_torchs_before_and_after_a_checkpoint
    parts = load("qcuda/optimizer/test_step_in_backward")
    for case in parts.CASES:
        yield (
            "steps in the backward pass",
            lambda c=case: parts.test_it_has_the_bits_of_a_step_after_the_backward_pass(c),
        )
    yield "one gradient", lambda: parts.test_no_gradient_stands_beside_another("DST, Adam")
    yield "one backward pass", parts.test_a_second_backward_pass_is_refused_before_it_moves_anything
    yield "schedules", lambda: rates("OneCycleLR", schedulers.Momentum(0.2))


def patched(check: Callable[[pytest.MonkeyPatch], object]) -> None:
    """A check that patches, and the patches taken back."""
    with pytest.MonkeyPatch.context() as patch:
        check(patch)


def scaler(bad: ModuleType, patch: pytest.MonkeyPatch) -> None:
    bad.pretend_a_device(patch)
    bad.test_grad_scalers_notes_are_read(bad.BASES[2], None)
