"""Discrete weights, fast: kernels, layers, optimiser, training and the command line."""

from qcuda import nn as nn
from qcuda.audit import audit as audit
from qcuda.convert import LatticeConfig as LatticeConfig
from qcuda.convert import quantize_ as quantize_
from qcuda.optimizer import LatticeOptimizer as LatticeOptimizer
from qcuda.words import words as words
