"""Checks that a mistake in what is kept, and made again, could break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

PLACE = "cuda/qcuda/memory/"


def patched(test: Callable[..., None], *given: object) -> None:
    """A test whose last argument patches modules for as long as it runs."""
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        test(*given, patch)


def exact(load: Callable[[str], ModuleType]) -> Iterator:
    """Bits, bytes, and what is refused."""
    import torch
    from torch import nn

    tests = load("qcuda/test_units")
    yield (
        "trits",
        lambda: tests.test_trits_are_the_numbers_and_nothing_else_is_trits(torch.float32, 5),
    )
    yield "strides", tests.test_trits_keep_strides_and_refuse_gaps
    for how in ("units", "frugal"):
        yield (
            "weights that moved",
            lambda h=how: tests.test_a_weight_that_moved_before_the_backward_pass_is_refused(h),
        )
    yield "bytes of a unit", tests.test_a_unit_keeps_a_quarter_of_a_byte_an_element
    yield (
        "bytes of a layer",
        tests.test_a_frugal_layer_keeps_two_bits_of_its_input_and_nothing_of_its_weight,
    )
    for kind in ({}, {"momentum": None}):
        for half in (False, True):
            yield (
                "bits",
                lambda k=kind, h=half: tests.test_units_have_the_bits_of_their_modules(k, False, h),
            )
    yield "hooks", tests.test_hooks_of_modules_in_a_unit_are_called
    yield "blocks that draw", tests.test_blocks_that_draw_are_no_units
    for training in (True, False):
        test = tests.test_chunks_of_images_are_the_modules_but_for_roundings
        yield "chunks", lambda t=training, f=test: f(None, nn.Identity, t)
    rows = load("qcuda/test_rows")
    for size in ((16, 2**23, 2**24), (64, 2**12, 2**12)):
        yield (
            "bits of rows",
            lambda s=size: patched(rows.test_rows_have_the_bits_of_their_modules, *s, False, False),
        )
    for large in (1, 2**24):
        test = rows.test_one_input_of_three_rows_is_kept_and_of_four_if_it_is_large
        yield "bytes of rows", lambda n=large, f=test: patched(f, n)
    yield (
        "rows whose weight moved",
        rows.test_a_weight_that_moved_before_the_backward_pass_is_refused,
    )
    yield "table", tests.test_the_table_of_memory_counts_what_is_kept
