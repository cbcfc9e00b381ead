"""The answers of other packages to the questions of `qtheory bench chain`, and their times.

This file is run as a program, by an interpreter that has the packages; its arguments are a
package's name and a folder of questions. It prints one line of JSON for each answer, and saves the
answer beside its question. It imports nothing of ours.
"""

# pyright: basic, reportMissingImports=false

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

DENSE = 3000  # states of a matrix that is written out
LARGEST = 2**33  # bytes of one that a package writes out itself


def dense(chain) -> Any:
    """The full matrix of a question."""
    if "matrix" in chain:
        moves = chain["matrix"]
    else:
        moves: Any = sum(
            np.diag(
                band[j, : band.shape[1] - j - 1] if up else band[j, j + 1 :],
                j + 1 if up else -j - 1,
            )
            for up, band in ((True, chain["above"]), (False, chain["below"]))
            for j in range(len(band))
        )
    return moves + np.diag(1 - moves.sum(axis=1))


def sparse(chain) -> Any:
    """The transition matrix of a banded or sparse question, as a sparse matrix."""
    import scipy.sparse

    if "starts" in chain:
        n = len(chain["starts"]) - 1
        rows = chain["probabilities"], chain["targets"], chain["starts"]
        moves: Any = scipy.sparse.csr_array(rows, shape=(n, n))
        return (moves + scipy.sparse.diags_array(1 - moves.sum(axis=1))).tocsr()
    above, below = chain["above"], chain["below"]
    n, width = above.shape[1], len(above)
    stay = 1 - above.sum(axis=0) - below.sum(axis=0)
    bands = [
        stay,
        *(above[j, : n - j - 1] for j in range(width)),
        *(below[j, j + 1 :] for j in range(width)),
    ]
    offsets = [0, *range(1, width + 1), *range(-1, -width - 1, -1)]
    make: Any = scipy.sparse.diags
    return make(bands, offsets, format="csr")


def quantecon(question, chain):
    from quantecon.markov import gth_solve

    if question != "law":
        return None
    if "starts" in chain:
        size = len(chain["starts"]) - 1
        if 8 * size**2 > LARGEST:
            return f"writes out {8e-9 * size**2:.0f} GB"
        matrix = sparse(chain).toarray()
    else:
        matrix = dense(chain)
    gth_solve(matrix[:3, :3] / 3)  # compiled before it is timed
    return lambda: gth_solve(matrix)


def pydtmc(question, chain):
    matrix = dense(chain)
    if question == "law":
        from pydtmc.computations import gth_solve

        return lambda: gth_solve(matrix)
    from pydtmc import MarkovChain

    named = MarkovChain(matrix / matrix.sum(axis=1, keepdims=True))
    if question == "times":
        target = int(chain["target"])
        return lambda: np.array(named.mean_first_passage_times_to([str(target + 1)]))[:target]
    return lambda: np.array([named.spectral_gap])


def deeptime(question, chain):
    from deeptime.markov.tools import analysis

    matrix = (
        dense(chain) if "matrix" in chain or chain["above"].shape[1] <= DENSE else sparse(chain)
    )
    if question == "law":
        return lambda: analysis.stationary_distribution(matrix, check_inputs=False)
    if question == "times":
        target = int(chain["target"])
        return lambda: analysis.mfpt(matrix, target)[:target]
    return lambda: np.array([1 - np.sort(np.abs(analysis.eigenvalues(matrix, k=len(matrix))))[-2]])


def scipy(question, chain):
    if question == "law" and "matrix" in chain:
        from scipy import linalg

        matrix = dense(chain)
        return lambda: _law_by_solving(linalg.solve, matrix)
    if question == "law":
        from scipy.sparse import eye_array
        from scipy.sparse.linalg import spsolve

        matrix = sparse(chain)
        generator = (matrix.T - eye_array(matrix.shape[0])).tocsc()

        def law():
            rest = -generator[1:, [0]].toarray()[:, 0]
            solved: Any = spsolve(generator[1:, 1:], rest)
            found = np.append(1.0, solved)
            return found / found.sum()

        return law
    if question == "times" and "starts" in chain:
        from scipy.sparse import eye_array
        from scipy.sparse.linalg import spsolve

        matrix, target = sparse(chain), int(chain["target"])
        generator = (eye_array(target) - matrix[:target, :target]).tocsc()
        return lambda: spsolve(generator, np.ones(target))
    if question == "times":
        from scipy.linalg import solve_banded

        target = int(chain["target"])
        return lambda: solve_banded(*_banded_generator(chain, target), np.ones(target))
    from scipy.linalg import eigh_tridiagonal

    up, down = chain["above"][0, :-1], chain["below"][0, 1:]
    leaving = np.append(up, 0) + np.append(0, down)
    return lambda: eigh_tridiagonal(
        leaving, -np.sqrt(up * down), eigvals_only=True, select="i", select_range=(1, 1)
    )


def _law_by_solving(solve, matrix):
    equations = matrix.T - np.eye(len(matrix))
    equations[0] = 1.0
    return solve(equations, np.eye(len(matrix))[0])


def _banded_generator(chain, target):
    """I - P among the states below the target, as solve_banded stores it."""
    above, below = chain["above"], chain["below"]
    width = len(above)
    bands = np.zeros((2 * width + 1, target))
    bands[width] = (above.sum(axis=0) + below.sum(axis=0))[:target]
    for j in range(width):
        bands[width - j - 1, j + 1 :] = -above[j, : target - j - 1]
        bands[width + j + 1, : target - j - 1] = -below[j, j + 1 : target]
    return (width, width), bands


PACKAGES = {"quantecon": quantecon, "pydtmc": pydtmc, "deeptime": deeptime, "scipy": scipy}


def main(package, folder):
    __import__(package)
    for file in sorted(Path(folder).glob("*.npz")):
        chain = np.load(file)
        if package not in str(chain["packages"]).split():
            continue
        run = PACKAGES[package](str(chain["question"]), chain)
        assert run is not None, f"{package} was asked what it does not know"
        if isinstance(run, str):
            print(json.dumps({"case": file.stem, "note": run}), flush=True)
            continue
        began, busy = time.perf_counter(), time.process_time()
        found = run()
        seconds, cpu = time.perf_counter() - began, time.process_time() - busy
        answer = file.with_suffix(f".{package}.npy")
        np.save(answer, np.asarray(found, dtype=np.float64))
        print(
            json.dumps({"case": file.stem, "seconds": seconds, "cpu": cpu, "answer": str(answer)}),
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
