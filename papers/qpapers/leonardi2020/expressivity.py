"""Expressivity [leonardi2020]: the network is built, its size counted, its error measured."""

from __future__ import annotations

from qpapers.extremes import largest
from qpapers.ledger import Claim, Values
from qtheory.gradients.networks.expressivity import (
    CellNetwork,
    bound,
    build,
    cells_for,
    cones,
    error,
    extremal,
    probes,
    quantised,
)

TEST = "tests/theory/gradients/networks/test_expressivity.py"
CASES = ((1, 8), (2, 8), (3, 8))
POINTS = 500


def sizes() -> Values:
    """Neurons of layer 1, of layer 2, non-zero weights of layer 2, for d = 1, 2, 3 and N = 8."""
    networks = [build(extremal, d, n) for d, n in CASES]
    return tuple(float(x) for net in networks for x in (*net.neurons, net.nonzeros))


def firing() -> Values:
    """Least and largest number of neurons of layer 2 that fire, d = 1, 2, 3."""
    networks = [build(extremal, d, n) for d, n in CASES]
    sums = [net.fired(probes(net, POINTS, seed=1)).sum(axis=1) for net in networks]
    return tuple(float(x) for s in sums for x in (s.min(), s.max()))


def attained() -> Values:
    """Sup error of the extremal function over the bound, d = 1, 2, 3."""
    networks = [(build(extremal, d, n), bound(1.0, d, n)) for d, n in CASES]
    return tuple(error(net, extremal, probes(net, POINTS, 2)) / limit for net, limit in networks)


def errors() -> Values:
    """Sup error of the extremal function, d = 1, 2, 3."""
    networks = [build(extremal, d, n) for d, n in CASES]
    return tuple(error(net, extremal, probes(net, POINTS, seed=2)) for net in networks)


def random_functions() -> Values:
    """Largest error over bound among ten random minima of cones for each of d = 1, 2, 3."""
    return tuple(
        largest(
            error(net, f, probes(net, POINTS, seed)) / bound(1.0, d, n)
            for seed in range(10)
            for f in [cones(d, 8, seed)]
            for net in [build(f, d, n)]
        )
        for d, n in CASES
    )


def quantised_errors() -> Values:
    """Error over bound with output weights on a lattice of spacing 1/8: the extremal function,
    d = 1; then the largest of ten random functions, d = 2, 3."""
    net = quantised(build(extremal, 1, 8), 0.125)
    rest = [
        largest(
            error(quantised(build(f, d, n), 0.125), f, probes(build(f, d, n), POINTS, seed))
            / bound(1.0, d, n, 0.125)
            for seed in range(10)
            for f in [cones(d, 8, seed)]
        )
        for d, n in CASES[1:]
    ]
    return error(net, extremal, probes(net, POINTS, 2)) / bound(1.0, 1, 8, 0.125), *rest


def size_for_accuracy() -> Values:
    """Cells N**d for an accuracy of 1/20, d = 1, 2, 3, and over those for 1/10."""
    cells = [cells_for(0.05, 1.0, d) ** d for d in (1, 2, 3)]
    before = [cells_for(0.1, 1.0, d) ** d for d in (1, 2, 3)]
    return *cells, *(a / b for a, b in zip(cells, before, strict=True))


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="express-size",
        statement="A stair network with weights -1, 0, 1 and d N + N^d neurons, 2 d N^d - d "
        "N^(d-1) non-zero weights in layer 2, for N cells a side; d = 1, 2, 3, N = 8",
        code=build,
        test=f"{TEST}::test_the_size_is_that_of_the_formula",
        printed="8 + 8, 15; 16 + 64, 240; 24 + 512, 2880 (derived)",
        number="ours",
        expected=(8, 8, 15, 16, 64, 240, 24, 512, 2880),
        tolerance=0.0,
        why="whole numbers",
        run=sizes,
    ),
    Claim(
        id="express-one-hot",
        statement="in which one neuron of layer 2 fires, at every point: least and most that fire",
        code=CellNetwork,
        test=f"{TEST}::test_the_cell_of_a_point_fires_and_no_other",
        printed="1 and 1",
        number="ours",
        expected=(1, 1, 1, 1, 1, 1),
        tolerance=0.0,
        why="whole numbers",
        run=firing,
    ),
    Claim(
        id="express-attained",
        statement="approximates any f on the cube to Lip sqrt(d) / (2 N) in the sup norm, and "
        "sum_j x_j / sqrt(d) attains it: error over bound, d = 1, 2, 3",
        code=bound,
        test=f"{TEST}::test_the_extremal_function_attains_the_bound",
        printed="equality",
        number="ours",
        expected=(1, 1, 1),
        tolerance=2.0**-46,
        why="2**-50 absolute (four roundings of numbers below 2) over a bound above 2**-4",
        run=attained,
        printed_of="1, 1, 1",
    ),
    Claim(
        id="express-error",
        statement="with Lip = 1, N = 8 the error is, d = 1, 2, 3",
        code=error,
        test=f"{TEST}::test_the_extremal_function_attains_the_bound",
        printed=".0625, .0884, .1083",
        number="ours",
        expected=(0.0625, 0.0884, 0.1083),
        tolerance=0.5e-4,
        why="half a unit of the fourth decimal",
        run=errors,
    ),
    Claim(
        id="express-random",
        statement="Minima of eight random cones (Lip = 1) stay below the bound: largest error over "
        "bound, d = 1, 2, 3",
        code=cones,
        test=f"{TEST}::test_other_lipschitz_functions_stay_below_it",
        printed="at most 1",
        number="ours",
        expected=(1, 1, 1),
        tolerance=2.0**-46,
        why="a bound; rounding as for the extremal function",
        run=random_functions,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="express-quantised",
        statement="Output weights on a lattice of spacing a add at most a / 2: error over that "
        "bound, a = 1/8, extremal function with d = 1, random ones with d = 2, 3",
        code=quantised,
        test=f"{TEST}::test_quantised_outputs_are_multiples_and_can_cost_half_a_spacing",
        printed="at most 1, and 1 for d = 1",
        number="ours",
        expected=(1, 1, 1),
        tolerance=2.0**-46,
        why="a bound; rounding as for the extremal function",
        run=quantised_errors,
        guard=True,
        relation="<=",
    ),
    Claim(
        id="express-cost",
        statement="Accuracy e takes ceil(Lip sqrt(d) / (2 e))^d cells: for e = 1/20, and over "
        "those for 1/10, d = 1, 2, 3: the curse of dimension, 2^d in the limit",
        code=cells_for,
        test=f"{TEST}::test_enough_cells_for_an_accuracy_and_not_one_more",
        printed="10, 225, 5832; 2, 3.516, 8 (derived)",
        number="ours",
        expected=(10, 225, 5832, 2, 3.515625, 8),
        tolerance=0.0,
        why="quotients of small whole numbers by powers of 2, 5 and 9 that are whole or dyadic",
        run=size_for_accuracy,
    ),
)
