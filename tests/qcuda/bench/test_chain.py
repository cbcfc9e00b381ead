"""`qtheory bench chain` on short chains: a table, an error for each answer, and clear words."""

import json
import sys

import mpmath
import numpy as np
import pytest

from qcuda import cli
from qcuda.bench.chain import cases as chain_cases
from qcuda.bench.chain import joint as chain_joint
from qcuda.bench.chain import others as chain_others
from qcuda.bench.chain import run as chain
from qtheory.chain import MarkovChain, hitting_times, spectral_gap, stationary_distribution


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Less of what has a size of its own."""
    monkeypatch.setattr(chain_joint, "rows", list)
    whole = chain_cases.coupled_halves
    monkeypatch.setattr(chain_cases, "coupled_halves", lambda states: whole(40))
    annealing = chain.annealing
    monkeypatch.setattr(chain, "annealing", lambda repeats: annealing(repeats, 50, 1200))


def test_the_command_prints_and_writes_its_table(capsys, tmp_path):
    path = tmp_path / "table.json"
    words = ["bench", "chain", "--states", "300", "--longest", "1000", "--repeats", "1"]
    assert cli.main([*words, "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    printed = capsys.readouterr().out
    assert all(row["question"] in printed for row in rows)
    ours = [row for row in rows if row["package"] == "qtheory" and row["error"] is not None]
    assert len(ours) == 12
    # 300 states cost plain loops 5 n roundings; 1200 iterations 6 each
    assert all(row["error"] <= 7200 * 2.0**-53 for row in ours)
    theirs = {row["question"]: row for row in rows if row["package"] == "scipy"}
    assert theirs["double well times, N=101"]["error"] > 0.5  # no digit is right
    assert all(row["seconds"] > 0 for row in theirs.values())


def test_a_package_that_is_not_there_is_named(tmp_path):
    found, note = chain.answers("quantecon_of_tomorrow", sys.executable, tmp_path)
    assert (found, note) == ({}, "not installed")
    broken = tmp_path / "00.npz"
    np.savez(broken, packages="scipy", question="law")
    found, note = chain.answers("scipy", sys.executable, tmp_path)
    assert found == {} and note.startswith("failed: KeyError")


def test_too_short_a_chain_is_refused(capsys):
    assert cli.main(["bench", "chain", "--states", "10"]) == 2
    assert "states is at least 100, got 10" in capsys.readouterr().err


def test_references_are_right():
    """Against dense answers on 9 states, which err by 2 n**3 and 2 n**4 roundings at most."""
    with mpmath.workdps(chain_cases.DIGITS):
        walk, wide = chain_cases.random_birth_death(9), chain_cases.random_banded(9, 3)
        matrix, error = walk.to_dense(), 2 * 9**3 * 2.0**-53

        def near(exact):
            return pytest.approx(np.array(exact, dtype=np.float64), rel=error, abs=0)

        assert stationary_distribution(matrix) == near(chain_cases.exact_birth_death(walk))
        assert hitting_times(matrix, [8])[:8] == near(chain_cases.exact_times(walk))
        banded = chain_cases.exact_banded_times(wide)
        assert hitting_times(wide.to_dense(), [8])[:8] == near(banded)
        for chain, exponent in (
            chain_cases.reversible_banded(9, 3),
            chain_cases.coupled_halves(9),
        ):
            dense = chain if isinstance(chain, MarkovChain) else chain.to_dense()
            law = chain_cases.exact_powers(exponent)
            assert stationary_distribution(dense) == near(law)
        ring, exponent = chain_cases.reversible_ring(12, 5)
        even, times = chain_cases.even_ring(12, 5)
        grid, law = chain_cases.product_grid(4)
        for chain, exact in ((ring, chain_cases.exact_powers(exponent)), (grid, law)):
            exact = np.array(exact, dtype=np.float64)
            close = pytest.approx(exact, rel=2 * 16**3 * 2.0**-53, abs=0)
            assert stationary_distribution(chain.to_dense()) == close
        exact = pytest.approx(np.array(times, dtype=np.float64), rel=2 * 12**3 * 2.0**-53, abs=0)
        assert hitting_times(even.to_dense(), 11)[:11] == exact
        gap = spectral_gap(matrix)
        assert chain_cases.gap_error(walk, gap) <= 4 * 9**4 * 2.0**-53
        assert chain_cases.gap_error(walk, gap * 1.001) > 1e-4


def test_what_a_package_would_write_out_is_said(tmp_path):
    ring, _ = chain_cases.reversible_ring(40_000, 7)
    chain.Case("", "law", ring, lambda found: 0.0, "quantecon").save(tmp_path / "00.npz")
    given = np.load(tmp_path / "00.npz")
    matrix = ring.off_diagonal
    found = chain_others.sparse(given)
    found.setdiag(0)
    assert abs(found - matrix).max() == 0.0
    assert abs(chain_others.sparse(given).sum(axis=1) - 1).max() <= 8 * 2.0**-53
    (tmp_path / "quantecon").mkdir()
    (tmp_path / "quantecon" / "__init__.py").write_text("")
    (tmp_path / "quantecon" / "markov.py").write_text("def gth_solve(matrix): ...\n")
    words, note = {}, ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        words, note = chain.answers("quantecon", sys.executable, tmp_path)
    assert (words["00"]["note"], note) == ("writes out 13 GB", "")


def test_other_interpreters_see_the_same_matrix(tmp_path):
    """Bands are written out as the matrix itself, with its diagonal, and as SciPy stores it."""
    banded, _ = chain_cases.reversible_banded(12, 3)
    case = chain.Case("", "law", banded, lambda found: 0.0, "scipy")
    case.save(tmp_path / "00.npz")
    given = np.load(tmp_path / "00.npz")
    matrix = banded.to_dense().transition_matrix
    for found in (chain_others.dense(given), chain_others.sparse(given).toarray()):
        assert np.abs(found - matrix).max() <= 8 * 2.0**-53
