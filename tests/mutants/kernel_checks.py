"""The checks of a kernel, by ladder: the agreement tests themselves, called on one library.

exact        known answers and identities that need no second implementation
agreement    word for word what the plain reference does, to the knife edge
statistics   the law, without the words: battery.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cpu_room
import numpy as np
from agreement import (
    test_environment,
    test_forgetting,
    test_knife_edge,
    test_moves,
    test_normalized,
    test_optimisers,
    test_readings,
    test_scalars,
    test_stairs,
    test_storage,
    test_words,
)
from conformance.rooms import unexplained
from mutants.forks import in_child

import qreference
from qreference import philox, walker
from qtheory.algorithms import (
    DST,
    DeterministicRounding,
    StochasticRounding,
    contract,
    parameters,
    spec_class,
    walkers,
)
from qtheory.lattice import Lattice
from qtheory.optimisers import SGD, Adam, Momentum
from qtheory.streams import MAX_ELEMENT, Stream

test_optimisers.SIZES = [1, 3, 64, 1537]  # as many sizes as mutants need
LATTICES, TERNARY = test_moves.LATTICES, Lattice.ternary()
Check = tuple[str, Callable[[], object]]


def exact(room: cpu_room.Room) -> Iterator[Check]:
    yield "known answers of the generator", lambda: test_words.test_known_answers(room)
    yield "every number counts", lambda: test_words.test_each_number_reaches_the_counter(room)
    yield "published codes", lambda: test_storage.test_the_codes_are_the_published_ones(room)
    trits = test_storage.test_numbers_that_are_trits_are_packed_and_others_refused
    yield "numbers as trits", lambda: trits(room, test_storage.abi.Real.FLOAT32, 1)
    yield "illegal trits", lambda: test_storage.test_illegal_trits_are_counted(room)
    for count in (1, 4, 7):
        yield (
            "padding and neighbours",
            lambda c=count: test_storage.test_padding_stays_zero_and_neighbours_stay(room, c),
        )
    yield "certain moves", lambda: test_moves.test_certainty_and_impossibility(room)
    for levels in ((-1.0, 1.0, 5), (-1.5, 2.5, 5)):
        yield "ties", lambda x=levels: test_moves.test_ties_of_deterministic_rounding(room, x)
    yield "whole or in pieces", lambda: test_optimisers.test_whole_or_in_pieces(room, "bfloat16", 1)
    yield "scalars", lambda: test_scalars.test_ten_thousand_iterations_have_the_bits_of_python(room)
    yield (
        "an infinity found",
        lambda: test_scalars.test_an_infinity_found_stops_the_iteration(room, Adam(0.1)),
    )
    yield "a fork", lambda: forked(room)


def agreement(room: cpu_room.Room) -> Iterator[Check]:
    for offset in (0, 3, 2**34 - 5, MAX_ELEMENT - 149):
        yield (
            "words",
            lambda o=offset: test_words.test_every_stream_and_offset(room, Stream.READ, o),
        )
    yield "many words", lambda: test_words.test_counts_and_threads(room, 1)
    for kind in cpu_room.PACKED:
        yield "packing", lambda k=kind: test_storage.test_pack_and_unpack(room, k)
    yield (
        "visible weights",
        lambda: test_storage.test_visible_weights(room, test_storage.LATTICES[0], 1),
    )
    for rule, lattice in (
        (StochasticRounding, Lattice.ternary(0.1)),
        (StochasticRounding, LATTICES[-1]),
        (DeterministicRounding, Lattice.z(2)),
        (DST, TERNARY),
    ):
        yield (
            f"moves of {rule.__name__}",
            lambda r=rule, x=lattice: test_moves.test_every_lattice(room, r, x),
        )
    yield (
        "thresholds",
        lambda: test_moves.test_thresholds_are_the_same_integers(
            room, StochasticRounding, LATTICES[4]
        ),
    )
    yield (
        "words on the threshold",
        lambda: test_moves.test_words_on_the_threshold_of_stochastic_rounding(room),
    )
    yield (
        "largest words",
        lambda: test_moves.test_certainty_holds_for_the_largest_words(
            room, DeterministicRounding, 0
        ),
    )
    for optimiser, kind in (
        (SGD(0.3), "float32"),
        (Momentum(0.1), "bfloat16"),
        (Adam(0.02), "float32"),
    ):
        yield (
            "gradients that are not finite",
            lambda o=optimiser, k=kind: test_optimisers.test_what_is_not_finite_changes_nothing(
                room, o, k
            ),
        )
    for order in (0, 1, 2):
        yield "levels and windows", lambda n=order: test_stairs.test_levels_and_windows(room, n)
        for window in ("rectangular", "triangular"):
            yield "slopes", lambda n=order, w=window: test_stairs.test_slopes(room, n, w)
    for case in ((5, 8, 0.75), (1, 1, 0.5)):
        yield (
            "float16",
            lambda c=case: test_stairs.test_float16_is_rounded_to_nearest(room, *c),
        )
    for planes in (0, 1):
        yield "batch norm", lambda p=planes: test_stairs.test_batch_norm_and_a_stair(room, p)
    for row in test_readings.ROWS:
        yield (
            "readings",
            lambda r=row: test_readings.test_what_is_seen_and_its_slopes(room, r),
        )
    yield "frozen latents", lambda: test_readings.test_what_is_frozen_is_held_on_its_level(room)
    yield "NaN of readings", lambda: test_readings.test_nan_is_handed_on(room, "BinaryConnect")
    for family in test_readings.NOISES:
        test = test_readings.test_distribution_functions_and_densities
        yield "distribution functions", lambda t=test, f=family: t(room, f)
    yield (
        "order of sums of readings",
        lambda: test_readings.test_the_order_of_a_sum_decides(room, test_readings.PART + 1),
    )
    yield "thresholds to the knife edge", lambda: test_knife_edge.sweep(room)
    for optimiser, moments, gradient in (
        (SGD(0.3), "float32", "bfloat16"),
        (Momentum(0.1), "float32", "float32"),
        (Adam(0.02), "bfloat16", "float32"),
    ):
        yield (
            f"{type(optimiser).__name__}, {moments} moments",
            lambda o=optimiser, m=moments, g=gradient: (
                test_optimisers.test_five_iterations_of_every_size(room, o, m, g)
            ),
        )
    for base, moments in zip(test_normalized.BASES, ("bfloat16", "int8", "int8"), strict=True):
        yield (
            f"normalised gradients over a {base.over}, {moments} moments",
            lambda b=base, m=moments: test_normalized.test_iterations_of_every_size_of_row(
                room, b, m, "float32"
            ),
        )
    for stem in test_forgetting.FORGETFUL:
        for base, moments in test_forgetting.CASES[1:]:
            yield (
                "moments of weights that have moved",
                lambda s=stem, b=base, m=moments: (
                    test_forgetting.test_first_moments_are_0_where_weights_have_moved(room, s, b, m)
                ),
            )
    for places in test_normalized.PLACES:
        yield (
            "order of sums of squares",
            lambda p=places: test_normalized.test_the_order_of_a_sum_decides(room, p),
        )
    yield (
        "rows that are not finite",
        lambda: test_normalized.test_what_is_not_finite_stops_its_row_alone(room),
    )
    yield (
        "rows without gradient",
        lambda: test_normalized.test_a_row_without_gradient_stays(room),
    )
    for optimiser in (SGD(0.3), Momentum(0.1), Adam(0.02)):
        yield (
            "last bit of an increment",
            lambda o=optimiser: test_optimisers.test_the_last_bit_of_every_increment_decides(
                room, o
            ),
        )
    for stem in walkers():
        yield f"outcomes of {spec_class(stem).__name__}", lambda s=stem: outcomes_of(room, s)
    yield "many tensors", lambda: test_optimisers.test_many_tensors_in_one_launch(room, 2)
    yield (
        "denormals",
        lambda: test_environment.test_flushed_denormals_of_the_caller(room, 1),
    )
    yield "rounding mode", lambda: test_environment.test_rounding_mode_of_the_caller(room, 1)


LADDERS = {"exact": exact, "agreement": agreement}


def forked(room: cpu_room.Room) -> None:
    """Two threads in this process, then in a child of its own."""
    expected = test_environment.walk(room, 4, 2)
    same, ended = in_child(lambda: test_environment.walk(room, 4, 2) == expected, 5)
    assert same, ended


def warm_up(room: cpu_room.Room) -> None:
    """What the reference says is remembered here, once, for all children."""
    test_optimisers.sorted_words()
    for name, check in agreement(room):
        if name.startswith("moves"):
            check()


def outcomes_of(room: cpu_room.Room, stem: str) -> None:
    """Thresholds within the declared edge, and moves explained, at each example of each knob.

    Where the law has no knob that bends it, the edge is 0 and one word too many is seen. Some
    increments are as many spacings as the spec's numbers, and as their product: ties of thresholds.
    """
    rng, count = np.random.default_rng(len(stem)), 4001
    turned = [{k.name: v} for k in contract(stem).knobs for v in k.choices or k.examples]
    for knobs in ({}, *turned):
        spec = spec_class(stem)(Lattice.z(2), **knobs)
        index = rng.integers(0, spec.lattice.size, count)
        spread = rng.choice([1e-3, 0.1, 1.0], count)
        increment = (rng.normal(0, 1, count) * spread).astype(np.float32)
        increment[:3] = 0.0, np.inf, -np.inf
        numbers = np.array(parameters(spec), np.float32)
        ties = np.append(numbers, numbers.prod(dtype=np.float32)) * np.float32(spec.lattice.spacing)
        increment[3:603] = np.resize(np.append(ties, -ties), 600)
        ours, theirs = (r.outcomes(spec, index, increment) for r in (room, walker))
        apart = ours.thresholds.astype(np.int64) - theirs.thresholds.astype(np.int64)
        assert (np.abs(apart) <= qreference.edge(spec, theirs.thresholds)).all()
        sure = np.isin(theirs.thresholds[1:3], [0, 2**32])  # of infinite increments
        assert (apart[1:3][sure] == 0).all()
        assert (ours.destinations == theirs.destinations).all()
        one = cpu_room.Weights(index.copy(), increment)
        room.step(spec, None, [one], seed=3, iteration=1)
        words = philox.words(3, 1, 0, Stream.MOVE, count)
        assert not unexplained(spec, index, increment, words, one.index).any()
