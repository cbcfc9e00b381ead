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
# # Stairs, and what noise makes of them
#
# A quantiser is a stair: its derivative is zero almost everywhere, so no gradient passes. Additive
# noise annealing [spallanzani2019, spallanzani2022] replaces the stair $q$ by its expectation
# under a noise $\nu$, which is smooth, and lets the noise vanish while training:
#
# $$ q(x) = q_0 + \sum_i d_i\, H(x - t_i), \qquad
#    \mathbb{E}\, q(x - \nu) = q_0 + \sum_i d_i\, F\!\left(\frac{x - \mu - t_i}{s}\right). $$
#
# The papers were not at hand; statements are from memory and the authors' code, re-derived here.
# Every number is in `papers/spallanzani2019.md`, `spallanzani2022.md` and `straight_through.md`;
# `qtheory reproduce ana ste` makes them.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import sympy
from IPython.display import Markdown, display

from qtheory import Lattice
from qtheory.noise import (
    Cauchy,
    Gaussian,
    Logistic,
    StudentT,
    Triangular,
    Uniform,
    mean_size,
    peak,
    roughness,
    std_of,
    with_scale,
)
from qtheory.stairs import symbolic
from qtheory.stairs.smoothing import (
    distance,
    distance_bound,
    expectation,
    law,
    lipschitz,
    mode,
    ripple,
    ripple_by_poisson,
    slope,
)
from qtheory.stairs.stair import Stair
from qtheory.stairs.surrogates import OTHERS, VARIANTS
from qtheory.stairs.symbolic import FAMILIES

plt.rcParams["figure.constrained_layout.use"] = True
SHIPPED = {
    "uniform": Uniform(1.0),
    "triangular": Triangular(1.0),
    "normal": Gaussian(1.0),
    "logistic": Logistic(1.0),
}
ternary = Stair.nearest(Lattice.ternary())

# %% [markdown]
# ## Six noises, as formulas
#
# $F$ is given; the density and all derivatives follow from it by sympy, and NumPy's versions are
# held to them.

# %%
rows = [
    f"| {name} | ${sympy.latex(symbolic.distribution(name))}$ "
    f"| ${sympy.latex(sympy.simplify(symbolic.density(name)))}$ |"
    for name in FAMILIES
]
display(Markdown("\n".join(["| law | $F(u)$ | $f(u)$ |", "|---|---|---|", *rows])))

# %% [markdown]
# The smoothed Heaviside step, its slope, and its derivative in the scale, for the logistic law:

# %%
step = Stair.step()
for title, formula in (
    (r"\mathbb{E} q", symbolic.expectation(step, "logistic")),
    (r"\partial_x", sympy.simplify(symbolic.slope(step, "logistic"))),
    (r"\partial_s", sympy.simplify(symbolic.slope_in_scale(step, "logistic"))),
):
    display(Markdown(f"$${title}:\\quad {sympy.latex(formula)}$$"))

# %% [markdown]
# One scale convention: the parameter that stretches the law is its **scale**; only for the normal
# law is it the standard deviation.

# %%
header = "| law, scale 1 | std | peak | E abs | roughness |\n|---|---|---|---|---|\n"
everyone = {**SHIPPED, "Student, 3 degrees": StudentT(3.0, 1.0), "Cauchy": Cauchy(1.0)}
lines = [
    f"| {name} | {std_of(n):.5f} | {peak(n):.5f} | {mean_size(n):.5f} | {roughness(n):.5f} |"
    for name, n in everyone.items()
]
display(Markdown(header + "\n".join(lines)))

# %% [markdown]
# ## The ternary stair under four noises of one std
#
# Above: expectation. Below: slope, which is what goes backward. Under uniform noise of half width
# 1/2 the expectation is exactly clip(x, -1, 1).

# %% tags=["cover"]
x = np.linspace(-2.5, 2.5, 1001)
figure, axes = plt.subplots(2, 3, figsize=(11, 5.5), sharex=True, sharey="row")
for column, std in enumerate((0.1, 0.5 / math.sqrt(3), 0.6)):
    for name, noise in SHIPPED.items():
        scaled = with_scale(noise, std / std_of(noise))
        axes[0, column].plot(x, expectation(ternary, scaled, x), label=name)
        axes[1, column].plot(x, slope(ternary, scaled, x))
    axes[0, column].plot(x, ternary(x), "k", linewidth=0.8)
    axes[0, column].set_title(f"std {std:.2f}")
    axes[1, column].set_xlabel("x, in spacings")
axes[0, 0].set_ylabel("expectation")
axes[1, 0].set_ylabel("slope, levels per spacing")
axes[0, 0].legend()
plt.show()

# %% [markdown]
# Law of the three levels and the mode. Under strong noise the middle level is never the most
# probable, not even at its own centre: the forward pass by mode is then not the hard stair.

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3), sharey=True)
for axis, scale in zip(axes, (0.3, 1.0, 1.3), strict=True):
    noise = Gaussian(scale)
    axis.stackplot(x, law(ternary, noise, x).T, labels=["-1", "0", "+1"], alpha=0.6)
    axis.plot(x, mode(ternary, noise, x) / 2, "k", linewidth=1, label="mode")
    axis.set(title=f"normal, scale {scale}", xlabel="x, in spacings")
axes[0].set_ylabel("probability")
axes[0].legend(loc="upper left")
plt.show()

# %% [markdown]
# ## How steep
#
# The Lipschitz constant and three bounds on it, for 16 levels under normal noise. The bound by the
# peak density does not see that thresholds are apart; the one by spacing does.

# %%
sixteen = Stair.whole(4, signed=True)
scales = np.geomspace(0.05, 5, 25)
found = [lipschitz(sixteen, Gaussian(s)) for s in scales]
figure, axis = plt.subplots(figsize=(6, 3.5))
for name in ("exact", "by_peak", "by_spacing"):
    style = {"exact": "k", "by_peak": "--", "by_spacing": ":"}[name]
    values = [getattr(f, name) for f in found]
    axis.loglog(scales, values, style, label=name.replace("_", " the "))
axis.set(xlabel="scale, in spacings", ylabel="Lipschitz constant")
axis.legend()
plt.show()

# %% [markdown]
# ## Ripple: when the gradient is the identity
#
# On a stair of all integers the slope is a periodic sum of densities. Poisson summation:
#
# $$ \sum_k \tfrac1s f\!\left(\tfrac{x-k}{s}\right)
#    = 1 + 2 \sum_{j \ge 1} \varphi(2\pi j s) \cos(2\pi j x), $$
#
# with $\varphi$ the characteristic function. For uniform noise of half width 1/2, 1, 3/2, ... every
# wave vanishes: the backward pass *is* the identity straight-through estimator, exactly.

# %%
x = np.linspace(0, 2, 801)
figure, axes = plt.subplots(1, 2, figsize=(11, 3.4))
for name, noise in SHIPPED.items():
    axes[0].plot(x, ripple(with_scale(noise, 0.25), x, 20), label=name)
axes[0].plot(x, ripple_by_poisson(SHIPPED["normal"].scaled(0.25), x, 3), "k:", label="3 waves")
axes[0].set(xlabel="x, in spacings", ylabel="slope", title="scale 1/4")
axes[0].legend()
scales = np.linspace(0.1, 1.6, 601)
for name, noise in SHIPPED.items():
    sizes = [np.ptp(ripple(with_scale(noise, s), x[:401:8], 60)) for s in scales]
    axes[1].semilogy(scales, np.maximum(sizes, 1e-8), label=name)
axes[1].set(xlabel="scale, in spacings", ylabel="largest less smallest slope", ylim=(1e-8, 10))
plt.show()

# %% [markdown]
# ## How far from the stair
#
# The area between stair and expectation is at most $(q_T - q_0)\, \mathbb{E}|\nu|$, and equal to it
# as long as the noises about different thresholds do not overlap.

# %%
scales = np.geomspace(0.05, 4, 60)
figure, axis = plt.subplots(figsize=(6, 3.5))
for name, noise in SHIPPED.items():
    some = [with_scale(noise, s) for s in scales]
    axis.semilogx(scales, [distance(ternary, n) / distance_bound(ternary, n) for n in some])
    axis.lines[-1].set_label(name)
axis.set(xlabel="scale, in spacings", ylabel="area over its bound")
axis.legend()
plt.show()

# %% [markdown]
# ## The dictionary
#
# A surrogate derivative $g$ of a step of height $h$ is the slope of that step under a noise if and
# only if $g \ge 0$ and $\int g = h$. The difference of the two is simplified to 0 by sympy below.

# %%
lines = [
    f"| {v.name} | {v.height} | ${sympy.latex(v.surrogate)}$ | {v.noise.family}, scale "
    f"${sympy.latex(v.noise.scale)}$, mean ${sympy.latex(v.noise.mean)}$ | {v.difference()} |"
    for v in VARIANTS
]
header = "| variant | h | surrogate | noise | difference |\n|---|---|---|---|---|\n"
display(Markdown(header + "\n".join(lines)))

# %%
figure, axes = plt.subplots(2, 4, figsize=(11, 4.6), sharex=True, sharey=True)
x = np.linspace(-2.5, 2.5, 501)
for axis, variant in zip(axes.flat, VARIANTS, strict=True):
    axis.fill_between(x, variant.at(x), alpha=0.4)
    axis.set_title(f"{variant.name}: {variant.noise.family}", fontsize=9)
for axis in axes[1]:
    axis.set_xlabel("x")
for axis in axes[:, 0]:
    axis.set_ylabel("surrogate")
plt.show()

# %% [markdown]
# And three that are none: two with infinite mass, and one with the right mass that goes below 0.
# The ReLU's window 1(x > 0) is open to one side, so it is not even the limit of smoothings that
# the identity is.

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 2.6), sharex=True)
x = np.linspace(-6, 6, 601)
for axis, variant in zip(axes, OTHERS, strict=True):
    axis.fill_between(x, variant.at(x), alpha=0.4)
    mass = "∞" if variant.mass() == sympy.oo else variant.mass()
    axis.set(title=f"{variant.name}: mass {mass}, h = {variant.height}", xlabel="x")
axes[0].set_ylabel("surrogate")
plt.show()

# %% [markdown]
# First scales of the public code: 95 % of the mass within half a spacing.

# %%
for name, scale in (("logistic", 1 / (2 * math.log(39))), ("normal", 0.2551067)):
    noise = with_scale(SHIPPED[name], scale)
    inside = 1 - 2 * noise.tail(np.array(0.5))
    print(
        f"{name}: scale {scale:.6f}, mass within 1/2 is {float(inside):.4f}, peak {peak(noise):.4f}"
    )
