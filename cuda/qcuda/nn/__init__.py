"""Layers whose weights are indices, activations with few levels, and conversion of a model."""

from qcuda.nn.activations import MultiStep as MultiStep
from qcuda.nn.activations import NoisyStair as NoisyStair
from qcuda.nn.activations import noise_stairs as noise_stairs
from qcuda.nn.activations import number_stairs as number_stairs
from qcuda.nn.activations import set_iteration as set_iteration
from qcuda.nn.attention import MultiheadAttention as MultiheadAttention
from qcuda.nn.convolution import Conv1d as Conv1d
from qcuda.nn.convolution import Conv2d as Conv2d
from qcuda.nn.convolution import Conv3d as Conv3d
from qcuda.nn.convolution import ConvTranspose1d as ConvTranspose1d
from qcuda.nn.convolution import ConvTranspose2d as ConvTranspose2d
from qcuda.nn.convolution import ConvTranspose3d as ConvTranspose3d
from qcuda.nn.embedding import Embedding as Embedding
from qcuda.nn.fused import BatchStair as BatchStair
from qcuda.nn.fused import fuse_ as fuse_
from qcuda.nn.layers import LatticeLayer as LatticeLayer
from qcuda.nn.layers import draw_levels as draw_levels
from qcuda.nn.layers import lattice_layers as lattice_layers
from qcuda.nn.linear import Linear as Linear
