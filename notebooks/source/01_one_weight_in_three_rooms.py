# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # One weight in three rooms
#
# A weight lives on a lattice. An optimiser proposes a real increment; the weight can only move
# by whole spacings. What happens is a Markov chain, and it can be said exactly (`qtheory`), shown
# slowly (`qreference`) and done fast (`qcuda`). Here all three do the same small problem.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

from qcuda import LatticeOptimizer
from qcuda.nn import Linear
from qreference import philox, walker
from qtheory import DST, Lattice, StochasticRounding
from qtheory.algorithms.dst import law as dst_law
from qtheory.algorithms.stochastic_rounding import law as sr_law
from qtheory.chain import evolve, spectral_gap, stationary_distribution
from qtheory.increments import noisy_increments_at_levels
from qtheory.noise import Gaussian
from qtheory.optimisers import SGD
from qtheory.streams import Stream
from qtheory.transition import weight_chain

# %% [markdown]
# ## The law of one move
#
# From the middle of a ternary lattice, an increment of x spacings moves the weight with
# probability x under stochastic rounding, and tanh(3 x) under DST: about three times as often
# for small x. That is why the nonlinearity acts as a factor of the learning rate.

# %%
ternary = Lattice.ternary()
x = np.linspace(0, 1, 201)[:-1]
plt.figure(figsize=(6, 3.2))
plt.plot(x, sr_law(StochasticRounding(ternary), 1, x)[:, 2], label="stochastic rounding")
for m in (1.0, 3.0, 10.0):
    plt.plot(x, dst_law(DST(ternary, m), 1, x)[:, 2], label=f"DST, m = {m:g}")
plt.xlabel("increment in lattice spacings")
plt.ylabel("probability of moving up")
plt.legend()
plt.show()

# %% [markdown]
# ## A loss, a learning rate, a noise: an exact chain
#
# F(w) = (w - 0.3)^2 / 2 on a lattice of 17 levels, gradients with Gaussian noise. The transition
# matrix follows from the law of the increment; its stationary law from elimination without
# subtraction, so every probability keeps its digits.

# %%
lattice, learning_rate, noise = Lattice.z(4), 0.05, Gaussian(1.0)
gradient = lambda w: w - 0.3  # noqa: E731
increments = noisy_increments_at_levels(gradient, lattice, learning_rate, noise)
spec = DST(lattice, nonlinearity=3.0)
chain = weight_chain(spec, increments)
stationary = stationary_distribution(chain)
print("spectral gap:", spectral_gap(chain))

# %% [markdown]
# ## The same chain, slowly and fast
#
# 20,000 independent weights start at the lowest level and take 60 steps. The reference draws the
# words by name; the kernel is `LatticeOptimizer` on a layer that has one weight for each walker.

# %%
walkers, iterations, seed = 20_000, 60, 7
start = np.zeros(walkers, dtype=np.int64)
draw = np.random.default_rng(1)
noises = draw.standard_normal((iterations, walkers)).astype(np.float32)

layer = Linear(walkers, 1, lattice)
layer.set_index(torch.from_numpy(start).reshape(1, -1))
optimizer = LatticeOptimizer(layer.parameters(), spec, base=SGD(learning_rate), seed=seed)

index = start
for iteration in range(1, iterations + 1):
    g = np.float32(lattice.levels[index] - 0.3) + noises[iteration - 1]
    words = philox.words(seed, iteration, 0, Stream.MOVE, walkers)
    index = walker.step(spec, index, -(np.float32(learning_rate) * g), words)
    layer.slot.grad = torch.from_numpy(g).reshape(1, -1)
    optimizer.step()
fast = layer.index.numpy().ravel()
print("walkers on different levels in the two rooms:", int((fast != index).sum()))

# %% tags=["cover"]
exact = evolve(chain, np.eye(lattice.size)[0], iterations)
measured = np.bincount(fast, minlength=lattice.size) / walkers
plt.figure(figsize=(6, 3.2))
plt.bar(lattice.levels, measured, width=0.1, alpha=0.4, label=f"{walkers} walkers, kernel")
plt.plot(lattice.levels, exact, "k.-", label=f"exact law after {iterations} steps")
plt.plot(lattice.levels, stationary, "r--", label="exact stationary law")
plt.xlabel("weight")
plt.ylabel("probability")
plt.legend()
plt.show()

# %% [markdown]
# The bars must lie on the black line up to counting noise: by Hoeffding's inequality each bar is
# within 0.025 of it except with probability 1e-9 for all 17 together.

# %%
bound = np.sqrt(np.log(2 * lattice.size / 1e-9) / (2 * walkers))
print(f"largest difference {np.abs(measured - exact).max():.4f}, bound {bound:.4f}")
assert np.abs(measured - exact).max() <= bound
