"""The constructed stair network: one neuron fires, its size, its error against the bound."""

import dataclasses

import numpy as np
import pytest

from qtheory.gradients.networks import expressivity
from qtheory.gradients.networks.expressivity import (
    bound,
    build,
    cells_for,
    cones,
    error,
    extremal,
    probes,
    quantised,
)

SIZES = [(1, 1), (1, 8), (1, 16), (2, 3), (2, 8), (2, 16), (3, 2), (3, 8)]
ROUNDING = 2.0**-50  # a centre, its sum over 3 inputs and a quotient: 4 roundings of at most 2


@pytest.mark.parametrize(("dimension", "cells"), SIZES)
def test_the_cell_of_a_point_fires_and_no_other(dimension: int, cells: int):
    network = build(extremal, dimension, cells)
    points = probes(network, 300, seed=1)
    fired = network.fired(points)
    assert (fired.sum(axis=1) == 1).all()
    scaled = (points[:, :, None] >= np.arange(cells) / cells).sum(axis=2) - 1
    expected = np.ravel_multi_index(tuple(scaled.T), (cells,) * dimension)
    assert (fired.argmax(axis=1) == expected).all()


@pytest.mark.parametrize(("dimension", "cells"), SIZES)
def test_the_size_is_that_of_the_formula(dimension: int, cells: int):
    network = build(extremal, dimension, cells)
    assert network.neurons == (dimension * cells, cells**dimension)
    total = 2 * dimension * cells**dimension - dimension * cells ** (dimension - 1)
    assert network.nonzeros == total
    assert set(np.unique(network.first)) <= {0, 1}
    assert set(np.unique(network.second)) <= {-1, 0, 1}


@pytest.mark.parametrize(("dimension", "cells"), SIZES)
def test_the_extremal_function_attains_the_bound(dimension: int, cells: int):
    network = build(extremal, dimension, cells)
    found = error(network, extremal, probes(network, 300, seed=2))
    assert abs(found - bound(1.0, dimension, cells)) <= ROUNDING


@pytest.mark.parametrize(("dimension", "cells"), SIZES)
@pytest.mark.parametrize("seed", [3, 4])
def test_other_lipschitz_functions_stay_below_it(dimension: int, cells: int, seed: int):
    f = cones(dimension, 8, seed)
    network = build(f, dimension, cells)
    points = probes(network, 300, seed)
    assert error(network, f, points) <= bound(1.0, dimension, cells) + ROUNDING
    for spacing in (0.25, 0.01):
        found = error(quantised(network, spacing), f, points)
        assert found <= bound(1.0, dimension, cells, spacing) + ROUNDING


def test_quantised_outputs_are_multiples_and_can_cost_half_a_spacing():
    network = quantised(build(extremal, 1, 8), 0.125)
    assert np.array_equal(network.outputs / 0.125, np.rint(network.outputs / 0.125))
    found = error(network, extremal, probes(network, 0, seed=0))
    assert found == bound(1.0, 1, 8, 0.125)  # all are multiples of 1/16


def test_a_network_with_one_weight_wrong_is_noticed():
    network = build(extremal, 2, 4)
    broken = network.second.copy()
    broken[5, np.flatnonzero(broken[5] == -1)[0]] = 0
    fired = dataclasses.replace(network, second=broken).fired(probes(network, 300, seed=5))
    assert (fired.sum(axis=1) != 1).any()


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_enough_cells_for_an_accuracy_and_not_one_more(dimension: int):
    for accuracy in (0.3, 0.11, 0.07):
        cells = cells_for(accuracy, 1.0, dimension)
        assert bound(1.0, dimension, cells) <= accuracy < bound(1.0, dimension, cells - 1)


def test_sizes_are_validated():
    with pytest.raises(ValueError, match="a network has inputs and cells, got 0 and 3"):
        build(extremal, 0, 3)
    with pytest.raises(ValueError, match="at most 65536 cells, got 66049"):
        build(extremal, 2, 257)
    with pytest.raises(ValueError, match="a spacing is positive and finite, got 0"):
        quantised(build(extremal, 1, 2), 0.0)
    with pytest.raises(ValueError, match="an accuracy is positive, got 0"):
        cells_for(0.0, 1.0, 1)
    assert expressivity.MOST_CELLS == 2**16
