"""`qtheory bench algorithms`: its torch forms are what they are beside, and its table."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch

from qcuda.bench import algorithms
from qcuda.bench.eager import MOVES, READINGS, moved
from qcuda.cli import main
from qcuda.errors import BackendUnavailable
from qcuda.kernels import native
from qcuda.nn.fused_reading import covered
from qcuda.nn.reader import Reader
from qtheory.algorithms import law, rows, stem, usual
from qtheory.algorithms.reader import reading_law_of, reading_of

MIDDLES = (torch.arange(2**16) + 0.5) / 2**16
# A threshold cuts a cell of a uniform grid, and float32 may round across one middle beside it.
CELLS = 2 * 2.0**-16
TIMED = [
    name
    for name, row in rows().items()
    if stem(row.spec) in READINGS and covered(reading_of(row.spec))
]
DRAWN = [name for name in TIMED if reading_of(rows()[name].spec).shown == "random"]
CERTAIN = [name for name in TIMED if name not in DRAWN]


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("increment", [-1.3, -0.6, 0.0, 0.2, 0.75])
def test_a_move_of_torch_has_the_law(name, increment):
    spec = usual(name)
    size = spec.lattice.size
    for index in range(size):
        code = torch.full((2**16,), index - size // 2, dtype=torch.int8)
        x = torch.full((2**16,), increment * spec.lattice.spacing)
        after = moved(code, x, spec, MOVES[name], lambda x: MIDDLES.to(x.dtype))
        found = np.bincount(after.numpy() + size // 2, minlength=size) / 2**16
        assert np.abs(found - law(spec, index, float(x[0]))).max() <= CELLS


def some(name: str):
    """Latents, what is learned, and the gradient of what is seen."""
    generator = torch.Generator().manual_seed(3)
    latent, upstream = (torch.randn(5, 7, generator=generator) for _ in range(2))
    latent.requires_grad_()
    reader = Reader(reading_of(rows()[name].spec), latent)
    for number, one in enumerate(reader.parameters()):
        one.data.mul_(0.8 + 0.3 * number)
    return latent, reader, upstream


@pytest.mark.parametrize("name", TIMED)
def test_a_reading_of_torch_has_the_slopes_of_the_kernel(name):
    """Of certain rows also what is seen. A few roundings of each number, 35 in a sum."""
    spec = rows()[name].spec
    latent, reader, upstream = some(name)
    learned = tuple(reader.parameters())
    theirs = READINGS[stem(spec)](latent, learned, spec, torch.rand_like)
    ours = reader(latent)
    if name in CERTAIN:
        assert torch.allclose(theirs, ours, rtol=2.0**-21, atol=2.0**-21)
    wanted = (latent, *learned)
    for one, other in zip(
        torch.autograd.grad(theirs, wanted, upstream),
        torch.autograd.grad(ours, wanted, upstream),
        strict=True,
    ):
        assert torch.allclose(one, other, rtol=2.0**-20, atol=35 * 2.0**-20)


@pytest.mark.parametrize("name", [n for n in DRAWN if stem(rows()[n].spec) in READINGS])
def test_a_random_reading_of_torch_has_the_law(name):
    spec = rows()[name].spec
    levels = torch.tensor(spec.lattice.levels, dtype=torch.float32)
    for x in (-1.2, -0.4, 0.1, 0.9):
        latent = torch.full((2**16,), x)
        seen = READINGS[stem(spec)](latent, (), spec, lambda x: MIDDLES)
        found = np.array([float((seen == level).float().mean()) for level in levels])
        assert np.abs(found - reading_law_of(spec, latent[:1].numpy())[0]).max() <= CELLS


@pytest.fixture
def few(monkeypatch):
    """A walker, the one of hidden levels, a reader, and one without a form; nothing is compiled."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    monkeypatch.delitem(MOVES, "bop")
    every = algorithms.cases()
    kept = ("dst", "bop", "walker of 8 bits, normalised", "BWN")
    monkeypatch.setattr(algorithms, "cases", lambda: {name: every[name] for name in kept})
    return kept


def test_the_table_is_printed_and_written(few, tmp_path, capsys):
    words = [
        "bench",
        "algorithms",
        "--weights",
        "2048",
        "--repeats",
        "1",
        "--level",
        "v1",
        "--clock",
    ]
    assert main([*words, "processor", "--threads", "1", "--json", str(tmp_path / "a.json")]) == 0
    written = json.loads((tmp_path / "a.json").read_text())
    assert tuple(written["median_ms"]) == few and written["library"] == "libqtheory_v1.so"
    assert native.library.cache_info().currsize == 0  # of the level; the usual one is found again
    walkers = written["ratios"]["walkers, compiled"]
    slower = [
        row["compiled"] / row["kernel"]
        for row in written["median_ms"].values()
        if row["family"] == "walkers" and "compiled" in row
    ]
    assert walkers["median"] == pytest.approx(sum(slower) / 2)
    assert walkers["lowest"] == pytest.approx(min(slower))
    printed = capsys.readouterr().out
    assert "no torch form" in printed and all(name in printed for name in few)
    for name, row in written["median_ms"].items():
        over = row["kernel"] / row["streaming"]
        assert f"{name:<30}{row['kernel']:>9.3f}{over:>16.2f}" in printed


def test_a_copy_moves_the_bytes_that_a_kernel_must(monkeypatch):
    """Of int8 codes, float32 gradients and latents, each as often as it must pass."""
    found = algorithms.cases()
    monkeypatch.setattr(algorithms, "streaming", lambda size: size)
    wanted = {"dst": 6, "walker of 8 bits, normalised": 10, "BWN": 20}
    for name, size in wanted.items():
        actions = found[name]._replace(make=lambda _: {}).actions(1024)
        assert actions == {"streaming": 1024 * size}


def test_a_row_each_for_every_stem():
    found = algorithms.cases()
    kernels = {name for name, row in rows().items() if covered(reading_of(row.spec))}
    assert set(found) >= {*MOVES, *kernels} and kernels >= {"BWN", "TTQ", "LSQ, ternary"}
    assert {stem(row.spec) for row in rows().values()} >= set(READINGS)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"weights": 1000}, "weights is a positive multiple of 1024, got 1000"),
        ({"clock": "sun"}, "a clock is one of wall, processor, got 'sun'"),
        ({"level": "v9"}, "QTHEORY_LEVEL is one of v1, v3, v4, generic, got 'v9'"),
    ],
)
def test_bad_options_are_refused(options, rule):
    with pytest.raises((ValueError, BackendUnavailable), match=rule):
        algorithms.algorithms(**{"weights": 1024, "repeats": 1, **options})
    assert native.library()  # the usual one


def test_a_level_above_the_processors_is_refused(monkeypatch):
    monkeypatch.setattr(native, "LEVELS", {9: "v9", **native.LEVELS})
    with pytest.raises(BackendUnavailable, match=r"of this processor's level or below, .*, got v9"):
        algorithms.algorithms(weights=1024, repeats=1, level="v9")
