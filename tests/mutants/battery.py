"""The third ladder in small: has a kernel its law, judged from its moves alone, without its words?

Every verdict is an exact p-value or an e-value and spends ALARM; there are seven, so a correct
build is taken for a mutant with probability below 1e-8. Kernels realise probabilities within 2e-6,
relative, of the law's: with n = 4e5 draws that shifts a mean by 1e-3 of its standard deviation.
`qtheory validate` climbs the whole ladder, with more draws; this one takes a second.
"""

from __future__ import annotations

import numpy as np

from qtheory import algorithms
from qtheory.algorithms import Spec, StochasticRounding, contract, spec_class, walkers
from qtheory.evidence import (
    EProcess,
    binomial_p_value,
    log_audit,
    multinomial_p_value,
    repeated_windows,
    worst_lag_p_value,
)
from qtheory.lattice import Lattice
from qtheory.optimisers import SGD, Adam, Momentum, Optimiser

ALARM = 1e-9
FIVE, TERNARY = Lattice(5, 0.3, -0.6), Lattice.ternary()
COINS = [spec_class(s) for s in walkers() if contract(s).destinations == "coin"]
SPACINGS = [0.05, 0.5, 0.97, 1.3, -0.05, -0.3, -0.97, -1.3, -2.6]


def law(spec: Spec, index, increment) -> np.ndarray:
    """Of the increment as rooms measure it, by one float32 division; see tests/conformance."""
    x = np.float32(increment) / np.float32(spec.lattice.spacing)
    return algorithms.law(spec, index, x.astype(np.float64) * spec.lattice.spacing)


def audit(spec: Spec, before, increment, after) -> float:
    """Log e-value of "the farther of the two levels was taken", strata by sign and octile."""
    x = np.asarray(increment, np.float64) / spec.lattice.spacing
    far = before + np.where(x < 0, -1, 1) * (np.floor(np.abs(x)) + 1)
    far = np.clip(far, 0, spec.lattice.size - 1).astype(np.int64)
    p = np.take_along_axis(law(spec, before, increment), far[:, None], -1)[:, 0]
    strata = (x < 0) * 8 + np.minimum(p * 8, 7).astype(np.int64)
    return log_audit(after == far, p, strata)


class Kernel:
    """A library as a black box."""

    def __init__(self, room) -> None:
        from cpu_room import Weights, storages

        self.room, self.make, self.storage = room, Weights, storages(TERNARY)[1]

    def step(self, spec: Spec, index, gradient, optimiser=None, iteration=1, tensor=0, **more):
        """Indices after one launch; moments in `more` are changed in place."""
        weights = self.make(index.copy(), gradient.astype(np.float32), tensor=tensor, **more)
        storage = {"storage": self.storage} if spec.lattice.size == 3 else {}
        self.room.step(spec, optimiser, [weights], seed=77, iteration=iteration, **storage)
        return weights.index


def cells(kernel: Kernel) -> float:
    """Every level of a small lattice, increments of every kind: smallest p-value, Bonferroni."""
    i, x = (a.reshape(-1) for a in np.meshgrid(range(5), np.array(SPACINGS) * 0.3))
    index, increment = np.tile(i, 9000), np.tile(x, 9000).astype(np.float32)
    smallest = 1.0
    for tensor, cls in enumerate(COINS):
        after = kernel.step(cls(FIVE), index, increment, tensor=tensor).reshape(-1, i.size)
        for k, pmf in enumerate(law(cls(FIVE), i, x)):
            counts = np.bincount(np.clip(after[:, k], 0, 4), minlength=5)
            smallest = min(smallest, multinomial_p_value(counts, pmf))
    return smallest * i.size * len(COINS)


def random_increments(kernel: Kernel) -> float:
    rng, process = np.random.default_rng(5), EProcess()
    for tensor, cls in enumerate(COINS):
        increment = rng.normal(0.02, 0.3, 150_000).astype(np.float32)
        index = rng.integers(0, 5, increment.size)
        after = kernel.step(cls(FIVE), index, increment, iteration=2, tensor=tensor)
        process.multiply(audit(cls(FIVE), index, increment, after))
    return np.exp(-max(process.log_e, 0))


def coins(kernel: Kernel) -> float:
    """Decisions at p = 1/2 over two tensors and iterations, and of one tensor with block numbers
    of more than 16 bits: agreements at every lag, and repeated windows."""
    spec = StochasticRounding(TERNARY)

    def bits(iteration: int, tensor: int, count: int) -> np.ndarray:
        half = np.full(count, 0.5)
        return kernel.step(spec, np.ones(count, np.int64), half, None, iteration, tensor) == 2

    parts = [bits(i, t, 2**14) for i in (1, 2) for t in (0, 1)]
    short, long = np.concatenate(parts), np.concatenate([*parts, bits(3, 5, 5 * 2**16)])
    return 2 * min(worst_lag_p_value(long), repeated_windows(short).p_value)


def small_tensors(kernel: Kernel) -> float:
    """Tensors of one to seven weights: loops' ends are all there is."""
    spec, moved, total = StochasticRounding(TERNARY), 0, 0
    for tensor in range(350):
        count = 1 + tensor % 7
        after = kernel.step(spec, np.ones(count, np.int64), np.full(count, -0.5), tensor=tensor)
        moved, total = moved + int((after == 0).sum()), total + count
    return binomial_p_value(moved, total, 0.5)


def exact_increments(optimiser: Optimiser, rows: list[np.ndarray]) -> np.ndarray:
    """Of the last iteration, in float64, from the definition alone."""
    first, second = 0.0, 0.0
    beta1, beta2 = getattr(optimiser, "betas", (getattr(optimiser, "momentum", 0.0), 0.0))
    gain = 1 - beta1 if isinstance(optimiser, Adam) else 1.0
    for g in rows:
        first, second = beta1 * first + gain * g, beta2 * second + (1 - beta2) * g * g
    if not isinstance(optimiser, Adam):
        return -optimiser.learning_rate * first
    t = len(rows)
    root = np.sqrt(second / (1 - beta2**t)) + optimiser.epsilon
    return -optimiser.learning_rate * (first / (1 - beta1**t)) / root


def optimisers(kernel: Kernel) -> float:
    """Increments follow the definition: gradients over nine decades, three iterations."""
    spec, n, process = StochasticRounding(Lattice(255, 0.5, -60.0)), 60_000, EProcess()
    for optimiser in (SGD(0.2), Momentum(0.1), Adam(0.2, (0.7, 0.9), 1e-6)):
        rng = np.random.default_rng(3)
        rows = [rng.normal(0.4, 1, n) * 10.0 ** rng.uniform(-8, 1, n) for _ in range(3)]
        rows = [g.astype(np.float32).astype(np.float64) for g in rows]
        from qreference.optimisers import init

        moments = init(optimiser, (n,))
        for t, g in enumerate(rows, start=1):
            index = np.full(n, 127)
            after = kernel.step(spec, index, g, optimiser, t, 3, moments=moments)
            asked = exact_increments(optimiser, rows[:t])
            near_whole = np.abs(asked / 0.5 - np.rint(asked / 0.5)) < 1e-4  # may round either way
            use = ~near_whole & (np.abs(asked) < 60)
            process.multiply(audit(spec, index[use], asked[use], after[use]))
    return np.exp(-max(process.log_e, 0))


def tiny_gradients(kernel: Kernel) -> float:
    """2**-26, below half precision's smallest number: half a spacing after the learning rate."""
    n, spec = 4000, StochasticRounding(TERNARY)
    after = kernel.step(spec, np.ones(n, np.int64), np.full(n, -(2.0**-26)), SGD(2.0**25))
    return binomial_p_value(int((after == 2).sum()), n, 0.5)


def kept_moments(kernel: Kernel) -> float:
    """bfloat16 keeps the mean: 256 + 2**-4 goes up, by 2, with probability 1/32."""
    from qreference.optimisers import Moments

    n = 50_000
    bits = np.full(n, np.float32(512).view(np.uint32) >> 16, np.uint16)
    moments = Moments(bits, None)
    kernel.step(
        StochasticRounding(TERNARY), np.ones(n, np.int64), np.full(n, 2.0**-4), Momentum(0.0, 0.5),
        moments=moments,
    )  # fmt: skip
    after = (moments.first.astype(np.uint32) << 16).view(np.float32)
    return binomial_p_value(int((after == 258).sum()), n, 1 / 32)


RUNGS = [cells, random_increments, coins, small_tensors, optimisers, tiny_gradients, kept_moments]


def failing(room) -> str | None:
    """The first verdict against a library."""
    return next((rung.__name__ for rung in RUNGS if rung(Kernel(room)) <= ALARM), None)


# The same questions to the torch optimiser


def training_words() -> float:
    """Slots of one size in two groups, one of which rests once, resumed after every iteration."""
    import torch

    import qcuda

    layers = [qcuda.nn.Linear(64, 16, TERNARY) for _ in range(4)]

    def make():
        groups = [
            {"params": [layers[0].slot, layers[1].slot]},
            {"params": [layers[2].slot, layers[3].slot]},
        ]
        return qcuda.LatticeOptimizer(
            groups, StochasticRounding(TERNARY), base=SGD(0.5), seed=2**40 + 9
        )

    optimizer, bits = make(), []
    for iteration in range(6):
        for k, layer in enumerate(layers):
            layer.set_index(torch.ones(16, 64, dtype=torch.int64))
            layer.slot.grad = None if (k, iteration) == (0, 3) else -torch.ones(16, 64)
        optimizer.step()
        bits += [
            layer.index.numpy().reshape(-1) == 2 for layer in layers if layer.slot.grad is not None
        ]
        saved, optimizer = optimizer.state_dict(), make()
        optimizer.load_state_dict(saved)
    return 2 * min(
        worst_lag_p_value(np.concatenate(bits)), repeated_windows(np.concatenate(bits)).p_value
    )


def training_increments() -> float:
    """Two groups with numbers of their own, Adam, gradients over ten decades, resumed halfway."""
    import torch

    import qcuda
    from qtheory.algorithms import DST

    lattice, n, process = Lattice(65, 0.5, -16.0), 20_000, EProcess()
    layers = [qcuda.nn.Linear(n, 1, lattice) for _ in range(2)]
    numbers = [{"lr": 0.2, "nonlinearity": 3.0}, {"lr": 0.05, "nonlinearity": 0.7}]

    def make():
        groups = [{"params": [a.slot], **b} for a, b in zip(layers, numbers, strict=True)]
        return qcuda.LatticeOptimizer(groups, DST(lattice), base=Adam(1.0, (0.7, 0.9), 1e-9))

    rng, rows, optimizer = np.random.default_rng(1), [], make()
    for t in range(1, 5):
        rows.append(
            (rng.normal(0.4, 1, (2, n)) * 10.0 ** rng.uniform(-9, 1, (2, n))).astype(np.float32)
        )
        for layer, g in zip(layers, rows[-1], strict=True):
            layer.set_index(torch.full((1, n), 32))
            layer.slot.grad = torch.from_numpy(g.reshape(1, -1).copy())
        optimizer.step()
        for k, layer in enumerate(layers):
            base = Adam(numbers[k]["lr"], (0.7, 0.9), 1e-9)
            asked = exact_increments(base, [row[k].astype(np.float64) for row in rows])
            use = np.abs(asked / 0.5 - np.rint(asked / 0.5)) > 1e-4
            spec, before = DST(lattice, numbers[k]["nonlinearity"]), np.full(n, 32)
            after = layer.index.numpy().reshape(-1)
            process.multiply(audit(spec, before[use], asked[use], after[use]))
        if t == 2:
            saved, optimizer = optimizer.state_dict(), make()
            optimizer.load_state_dict(saved)
    return np.exp(-max(process.log_e, 0))


TRAINING = [training_words, training_increments]


def failing_training() -> str | None:
    return next((rung.__name__ for rung in TRAINING if rung() <= ALARM), None)
