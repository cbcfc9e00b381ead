"""Proof that a kernel does what the exact room says: three ladders, each rung a claim.

    (a) law = reference      enumeration of words, no statistics      reference_law.py
    (b) reference = kernel   the same words, to the knife edge        same_words.py, tomography.py
    (c) kernel = law         calibrated statistics                    cells.py, joint.py

A kernel under test is any callable of `kernels.Kernel`'s shape; `run.validate` judges the
project's own and, with an `op`, anybody's. This folder alone sees all rooms; those that hold the
law or the plain reference are imported inside functions.
"""

from qcuda.validate.run import validate as validate
from qcuda.watch.odds import knife_edge as knife_edge
from qcuda.watch.odds import predicted_moves as predicted_moves
