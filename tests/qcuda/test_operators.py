"""The operators of steps and words under torch's own checks, and compiled."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

import qcuda
from qcuda.kernels import storage as stored
from qcuda.kernels.abi import Storage
from qcuda.kernels.words import as_signed, as_unsigned
from qreference import philox
from qtheory import DST, Lattice
from qtheory.optimisers import Adam
from qtheory.streams import Stream

TERNARY = Lattice.ternary(0.25)


def step_arguments(storage: Storage = Storage.TRITS, moments=torch.float32) -> list:
    """Two tensors of 70 and 5 weights, Adam and DST."""
    g = torch.Generator().manual_seed(1)
    shapes = [(7, 10), (5,)]
    index = [torch.randint(0, 3, s, generator=g) for s in shapes]
    return [
        [stored.encode(i, TERNARY, storage) for i in index],
        [torch.randn(s, generator=g) for s in shapes],
        [torch.zeros(s, dtype=moments) for s in shapes],
        [torch.zeros(s, dtype=moments) for s in shapes],
        [torch.zeros(s) for s in shapes],
        [torch.full((rows,), 0.5) for rows in (7, 1)],
        torch.zeros(2, 2, dtype=torch.int64),
        torch.tensor(Adam(0.3).scalars(1)),
        torch.tensor([1]),
        [0, 1], [0, 0], 5, "dst", "adam", int(storage), 0.25, 1.0, 3, [3.0],
    ]  # fmt: skip


@pytest.mark.parametrize("moments", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("storage", Storage)
def test_opcheck_of_the_step(storage, moments):
    results = torch.library.opcheck(
        torch.ops.qtheory.step_.default, step_arguments(storage, moments)
    )
    assert set(results.values()) == {"SUCCESS"}


def test_a_compiled_step_is_the_eager_one_and_the_iteration_compiles_nothing_again():
    def step(*arguments):
        torch.ops.qtheory.step_(*arguments)

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(step, fullgraph=True, backend=counter)
    ours, theirs = step_arguments(), step_arguments()
    for iteration in range(1, 6):
        for arguments, function in ((ours, compiled), (theirs, step)):
            arguments[7] = torch.tensor(Adam(0.3 / iteration).scalars(iteration))
            arguments[8] = torch.tensor([iteration])
            function(*arguments)
        for mine, other in zip(ours[:5], theirs[:5], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(mine, other, strict=True))
        assert torch.equal(ours[6], theirs[6])
    assert counter.frame_count == 1
    assert ours[6][:, 0].sum() > 0


def network(seed: int = 0) -> nn.Sequential:
    model = nn.Sequential(
        qcuda.nn.Conv2d(1, 4, 3, Lattice.ternary()),
        qcuda.nn.MultiStep(2, half_width=0.75, window="triangular"),
        nn.Flatten(),
        qcuda.nn.Linear(4 * 16, 3, Lattice.z(3), scale=0.125),
    )
    qcuda.nn.draw_levels(model, seed)
    return model


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_a_compiled_model_trains_as_the_eager_one(backend):
    """Integer-valued inputs: every sum is exact, so compiled and eager agree to the bit.

    Convolutions and products of numbers that are multiples of 2**-9 below 2**6 round nothing in
    float32, whatever the order. Five steps of training, compiled once.
    """
    if backend == "inductor" and " " in torch.__file__:
        pytest.skip(f"torch's inductor compiles C++ in a path without spaces, got {torch.__file__}")
    torch._dynamo.reset()
    models = [network(), network()]
    optimizers = [
        qcuda.LatticeOptimizer([m[0].slot], DST(Lattice.ternary()), base=Adam(0.2), seed=0)
        for m in models
    ]
    run = torch.compile(models[0], fullgraph=True, backend=backend)
    x = torch.randint(-2, 3, (4, 1, 6, 6), generator=torch.Generator().manual_seed(2)).float()
    for _ in range(5):
        for forward, optimizer in zip((run, models[1]), optimizers, strict=True):
            optimizer.zero_grad()
            forward(x).sum().backward()
            optimizer.step()
        assert torch.equal(models[0][0].slot.grad, models[1][0].slot.grad)
        assert torch.equal(models[0][0].state, models[1][0].state)
    assert optimizers[0].moved.tolist() == optimizers[1].moved.tolist() != [0]


def test_words_are_the_references_words():
    for stream in Stream:
        ours = qcuda.words(2**64 - 1, 7, 3, 1001, stream=stream, offset=2**34 - 7)
        assert ours.tolist() == philox.words(2**64 - 1, 7, 3, stream, 1001, 2**34 - 7).tolist()


@pytest.mark.parametrize("seed", [9, 2**63 - 1, 2**63, 2**64 - 1])
def test_opcheck_of_the_words(seed):
    """In the shape of `like`, for seeds on both sides of a signed number's end."""
    x = torch.zeros(3, 5)
    arguments = (x, torch.tensor(4), as_signed(seed), 2, 1, int(Stream.ACTIVATE))
    results = torch.library.opcheck(torch.ops.qtheory.words.default, arguments)
    assert set(results.values()) == {"SUCCESS"}
    drawn = torch.ops.qtheory.words(*arguments)
    assert drawn.shape == x.shape and as_unsigned(as_signed(seed)) == seed
    assert drawn.flatten().tolist() == philox.words(seed, 4, 2, Stream.ACTIVATE, 15, 1).tolist()


@pytest.mark.parametrize(
    ("iteration", "numbers", "message"),
    [
        (1, (0, -1, 0, 0), "the number of a tensor is in 0..4294967295, got -1"),
        (1.0, (0, 0, 0, 0), "an iteration is one int64 on cpu, got 1 torch.float32 on cpu"),
        ([1, 2], (0, 0, 0, 0), "an iteration is one int64 on cpu, got 2 torch.int64 on cpu"),
        (1, (0, 0, 0, 6), "6 is not a valid Stream"),
    ],
)
def test_words_check_their_numbers(iteration, numbers, message):
    with pytest.raises(ValueError, match=message):
        torch.ops.qtheory.words(torch.ones(2), torch.tensor(iteration), *numbers)
