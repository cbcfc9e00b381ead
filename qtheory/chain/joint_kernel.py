"""Loops over the leaves of joint chains: plain, and compiled where the chain library is present.

A row of a table belongs to one state and one atom of the noise. Given both, coordinate k goes to
level far[k] with its chance and else to near[k], independently of the others, so a row has up to
2**d leaves, each a target state with a product for its weight.

Every weight is a product of at most 2 d + 2 rounded factors, so it has a relative error below
(2 d + 3) u, u = 2**-53; sums of weights have no cancellation. A compensated sum adds the rounding
errors of its additions back and is as good as rounded three times [ogita2005, Sec. 4; not verified
against the print].
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from qtheory.chain import native

MOST_DIMENSIONS = 24
"""Of the compiled loops; the plain ones would need more memory long before."""

LEAVES = 2**20
"""Leaves that the plain loops hold at once."""

States = Float[ndarray, "states"]
"""One number for each state of the whole chain, float64."""


PerAtom = Float[ndarray, "atoms"]
"""One number for each atom of the noise."""


class Table(NamedTuple):
    """Moves of the states first .. first + len(near) - 1 of a chain on {0..levels-1}**d.

    near, far: uint8, (states, atoms, d). chance: of far, float64. probability: of atoms, (atoms,).
    """

    levels: int
    first: int
    near: UInt8[ndarray, "states atoms dimension"]
    far: UInt8[ndarray, "states atoms dimension"]
    chance: Float[ndarray, "states atoms dimension"]
    probability: PerAtom


Parts = Float[ndarray, "threads states"]
"""What each thread added up, float64."""


class Leaves(NamedTuple):
    """row: which row of the table; target: a state; weight: its probability."""

    row: Int[ndarray, "leaves"]
    target: Int[ndarray, "leaves"]
    weight: Float[ndarray, "leaves"]


def leaves(table: Table) -> Leaves:
    """All leaves of a table, row = state * atoms + atom, coordinate by coordinate."""
    states, atoms, dimension = table.near.shape
    near, far = (a.reshape(-1, dimension).astype(np.int64) for a in (table.near, table.far))
    chance = table.chance.reshape(-1, dimension)
    row = np.arange(states * atoms, dtype=np.int64)
    target, weight = np.zeros_like(row), np.tile(table.probability, states)
    for k in range(dimension):
        p, here, there = chance[row, k], near[row, k], far[row, k]
        fork = (here != there) & (p > 0)
        moved = target[fork] * table.levels + there[fork], weight[fork] * p[fork]
        target = np.concatenate([target * table.levels + here, moved[0]])
        weight = np.concatenate([np.where(fork, weight * (1.0 - p), weight), moved[1]])
        row = np.concatenate([row, row[fork]])
    return Leaves(row, target, weight)


def pieces(table: Table) -> Iterator[Table]:
    """The table in parts whose leaves fit into memory."""
    states, atoms, dimension = table.near.shape
    count = max(LEAVES // (atoms * 2**dimension), 1)
    for at in range(0, states, count):
        part = slice(at, at + count)
        yield table._replace(
            first=table.first + at,
            near=table.near[part],
            far=table.far[part],
            chance=table.chance[part],
        )


def advance(tables: Iterable[Table], law: States, *, compensated: bool, compiled: bool) -> States:
    """law P, the tables together having every state once."""
    count = threads() if compiled else 1
    out = np.zeros((count, len(law)))
    error = np.zeros_like(out) if compensated else None
    for table in tables:
        if compiled:
            _native_advance(table, law, out, error)
        else:
            _plain_advance(table, law, out[0], None if error is None else error[0])
    total = out[0]
    for part in out[1:]:
        new = total + part
        if error is not None:
            of_total = new - part
            error[0] += (total - of_total) + (part - (new - of_total))
        total = new
    return total if error is None else total + error.sum(axis=0)


def _plain_advance(table: Table, law: States, out: States, error: States | None) -> None:
    for part in pieces(table):
        row, target, weight = leaves(part)
        weight = weight * law[part.first + row // part.near.shape[1]]
        if error is not None:
            # multiples of 2**-52 below 2 add without error; what is left is below 2**-53 each
            coarse = np.rint(weight * 2.0**52) * 2.0**-52
            error += np.bincount(target, weight - coarse, len(out))
            weight = coarse
        out += np.bincount(target, weight, len(out))


def expect(tables: Iterable[Table], values: States, *, compiled: bool) -> States:
    """P values, the tables together having every state once."""
    out = np.empty(len(values))
    for table in tables:
        if compiled:
            _native_expect(table, values, out)
            continue
        for part in pieces(table):
            row, target, weight = leaves(part)
            states, atoms = part.near.shape[:2]
            mean = np.bincount(row // atoms, weight * values[target], states)
            out[part.first : part.first + states] = mean
    return out


def threads() -> int:
    """How many the compiled loops use: the processors, at most 8, as each has an output."""
    return min(os.cpu_count() or 1, 8)


def available() -> bool:
    """Whether the compiled loops are there; the plain ones serve otherwise."""
    return native.available()


def _native_advance(table: Table, law: States, out: Parts, error: Parts | None) -> None:
    states = ctypes.c_int64(out.shape[1])
    lost = None if error is None else _address(error)
    _call("qt_joint_advance", table, states, _address(law), _address(out), lost, len(out))


def _native_expect(table: Table, values: States, out: States) -> None:
    _call("qt_joint_expect", table, _address(values), _address(out), threads())


def _call(name: str, table: Table, *rest: object) -> None:
    library = native.library()
    if library is None or not hasattr(library, name):
        raise RuntimeError(
            f"{native.LIBRARY} has no loops of joint chains: "
            + (
                "it was not built"
                if library is None
                else "it is of another version, build it again"
            )
        )
    states, atoms, dimension = table.near.shape
    if dimension > MOST_DIMENSIONS:
        raise ValueError(f"compiled loops have at most {MOST_DIMENSIONS} weights, got {dimension}")
    arrays = [table.near, table.far, table.chance, table.probability]
    kept = [np.ascontiguousarray(a) for a in arrays]
    getattr(library, name)(
        dimension, table.levels, atoms, *map(_address, kept),
        ctypes.c_int64(table.first), ctypes.c_int64(states), *rest,
    )  # fmt: skip


def _address(array: ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
