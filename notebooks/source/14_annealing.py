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
# # Annealing a network: predicted, met, and what moving at once does to it
#
# A network of two hidden units and eight ternary weights has 6,561 states. Its energy, the sum of
# squared errors on 27 examples, is a whole number at each. So how deep its valleys are, and how
# it cools, is known exactly before a single network is trained.

# %%
import matplotlib.pyplot as plt
import numpy as np

from qpapers.annealing.curve import SCHEDULES, geometric, laws
from qpapers.annealing.network import DEEP, SPARE, landscape, surveyed
from qpapers.annealing.parallel import STRICT, excess, odds
from qpapers.annealing.walk import one_at_a_time
from qtheory.chain import inhomogeneous_laws, parallel_metropolis

# %% [markdown]
# ## Hajek's depth
#
# A valley is left over its rim: its depth is how high that is above its bottom. The greatest depth
# of a valley that is no global minimum, d*, decides whether T = c / ln(k + 2) ends at the global
# minima: if and only if c >= d*. One sweep of union-find gives all valleys, in whole numbers.

# %%
valleys, depth, relaxation = surveyed(DEEP)
energy = landscape(DEEP).ravel()
bottoms = [(int(energy[v.bottom[0]]), int(v.depth)) for v in valleys if v.depth < np.inf]
print(f"relu(x1 + x2) - relu(x2 - x3): d* = {depth}, m = {relaxation}")
print("bottom, depth:", ", ".join(f"{b}, {d}" for b, d in sorted(set(bottoms))))
assert (depth, relaxation) == (7, 16)

# %% [markdown]
# ## The cooling curve
#
# The law of all 6,561 states is followed through a thousand iterations, in each of which one weight
# is asked: the lines. The points are 2,048 independent networks, moved by the plain walker with the
# words of its counter-based generator.

# %% tags=["cover"]
NETWORKS = 2048
AT = np.unique(np.geomspace(1, 1000, 16).astype(int))
names = {"logarithmic": "T = 7 / ln(k + 2)", "geometric": "T from 16 to 1", "quench": "T = 1/8"}
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
furthest = 0.0
for colour, (name, temperatures) in zip(("C0", "C1", "C2"), SCHEDULES.items(), strict=True):
    exact = np.array(
        [
            (law @ energy, law[energy == 0].sum(), law @ energy**2)
            for law in laws(DEEP, temperatures)
        ]
    )
    walk = list(one_at_a_time(landscape(DEEP), temperatures, NETWORKS, 14))
    found = np.array([(walk[k - 1].mean(), (walk[k - 1] == 0).mean()) for k in AT])
    iterations = np.arange(1, 1001)
    left.semilogx(iterations, exact[:, 0], colour, label=names[name])
    left.semilogx(AT, found[:, 0], colour + "o", ms=4)
    right.semilogx(iterations, exact[:, 1], colour)
    right.semilogx(AT, found[:, 1], colour + "o", ms=4)
    error = np.sqrt((exact[AT - 1, 2] - exact[AT - 1, 0] ** 2) / NETWORKS)
    furthest = max(furthest, float(np.abs((found[:, 0] - exact[AT - 1, 0]) / error).max()))
left.set(xlabel="iterations", ylabel="mean energy")
left.legend(title="lines predicted, points simulated")
right.set(xlabel="iterations", ylabel="in a global minimum")
plt.show()
print(f"furthest of {3 * len(AT)} means: {furthest:.1f} standard errors")
assert furthest < 6.5

# %% [markdown]
# ## All at once
#
# Training moves all weights in one iteration, each as if it moved alone. With a share q that
# proposes, the chain is a product and still exact. At small q the mean energy is above that of
# Gibbs by a constant times q. But as T falls there are two kinds of networks. Where minima are
# strict the bias freezes. Where they are flat, as with a unit to spare, two free moves at once may
# climb for nothing, while a strict local minimum is left at the price exp(-d*/T): the odds are
# C q² exp(d*/T), and **a cold network leaves its global minima for local ones**.

# %%
coldness = np.linspace(0.25, 8.25, 9)
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
for q, style in ((1.0, "-"), (0.125, ":")):
    spare = [excess(SPARE, 1 / b, q) for b in coldness]
    strict = [excess(STRICT, 1 / b, q) for b in coldness]
    left.plot(coldness, spare, "C3" + style, label=f"a unit to spare, q = {q:g}")
    left.plot(coldness, strict, "C0" + style, label=f"strict minima, q = {q:g}")
left.set(xlabel="1 / T", ylabel="energy above Gibbs")
left.legend(fontsize=8)
shares = 4.0 ** -np.arange(5)
for t in (0.25, 1 / 7):
    right.loglog(shares, [odds(t, q) for q in shares], "o-", label=f"T = {t:.2g}")
right.loglog(shares, 2 * shares**2, "k:", label="slope 2")
right.axhline(1.0, color="grey", lw=0.8)
right.set(xlabel="share q that proposes", ylabel="P(local) / P(global)")
right.legend(fontsize=8)
plt.show()

# %% [markdown]
# In a run of finite length the loss is smaller, and it is there: T from 8 to 1/8, 300 questions.

# %%
flat = landscape(SPARE)
for q in (1.0, 0.5, 0.25):
    temperatures = geometric(8.0, 0.125, round(300 / (6 * q)))
    chains = (parallel_metropolis(flat, t, q) for t in temperatures.tolist())
    *_, law = inhomogeneous_laws(chains, np.full(flat.size, 1 / flat.size))
    print(f"q = {q:<5g} {law[flat.ravel() == 0].sum():.3f} in a global minimum")
*_, law = laws(SPARE, geometric(8.0, 0.125, 300))
print(f"one by one {law[flat.ravel() == 0].sum():.3f}")
