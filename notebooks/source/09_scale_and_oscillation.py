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
# # The scale of backward noise, and weights at their thresholds
#
# A coarse gradient replaces the derivative of a step by a density $f_s$ of scale $s$. Two
# questions: how large should $s$ be, and what does a weight do that is trained so? Both have exact
# answers in small models. Every number is in `papers/straight_through.md`;
# `qtheory reproduce straight_through` makes it.

# %%
import math
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

from qtheory.gradients.coarse.bandwidth import (
    TwoLayers,
    best_scale,
    bias,
    bias_constant,
    matched,
    mean_square_error,
    optimal_scale,
    through_layers,
    variance,
    variance_constant,
)
from qtheory.gradients.levels.descent import Quadratic, bound, excess, random_quadratic
from qtheory.gradients.levels.equivalence import (
    Surrogate,
    cosine,
    gap,
    noisy_stair,
)
from qtheory.gradients.levels.oscillation import (
    OneWeight,
    dampened_gradient,
    dampened_law,
    descend,
    noisy,
    straight_through,
    ups,
)
from qtheory.noise import (
    Cauchy,
    Gaussian,
    Logistic,
    Triangular,
    Uniform,
    roughness,
    std_of,
    with_scale,
)

plt.rcParams["figure.constrained_layout.use"] = True
FAMILIES = {
    "uniform": Uniform(1.0),
    "triangular": Triangular(1.0),
    "normal": Gaussian(1.0),
    "logistic": Logistic(1.0),
}

# %% [markdown]
# ## Bias and variance
#
# One hard unit learns another at the angle $\theta = 1.1$ from normal inputs. Along the direction
# that matters, with $R = \int f_1^2$ the roughness and $N$ samples averaged,
#
# $$\text{bias} \approx B s^2,\quad B = \frac{v\cdot v^*\,\mathrm{std}^2}{4\pi\sin^2\theta},\qquad
# \text{variance} \approx \frac{V R}{s N}.$$
#
# Dots are exact (quadrature), dashed lines the leading orders, for normal noise.

# %%
model, scales = TwoLayers(1.1), np.geomspace(0.02, 2.0, 25)
normal = [Gaussian(s) for s in scales]
figure, axes = plt.subplots(1, 3, figsize=(12, 3.4))
axes[0].loglog(scales, [bias(model, noise) for noise in normal], ".", label="exact")
axes[0].loglog(scales, bias_constant(model, Gaussian(1.0)) * scales**2, "--", label="$B s^2$")
axes[0].set(xlabel="scale s (std of the pre-activation)", ylabel="bias of the gradient")
axes[1].loglog(scales, [variance(model, noise) for noise in normal], ".", label="exact")
leading = variance_constant(model) * roughness(Gaussian(1.0)) / scales
axes[1].loglog(scales, leading, "--", label="$V R / s$")
axes[1].set(xlabel="scale s", ylabel="variance of one sample")
for count in (100, 1000, 10_000):
    (line,) = axes[2].loglog(
        scales, [mean_square_error(model, noise, count) for noise in normal], label=f"N = {count}"
    )
    s = best_scale(model, Gaussian(1.0), count)
    axes[2].plot(s, mean_square_error(model, Gaussian(s), count), "o", color=line.get_color())
    axes[2].axvline(optimal_scale(model, Gaussian(1.0), count), color=line.get_color(), ls=":")
axes[2].set(xlabel="scale s", ylabel="mean square error")
for ax in axes:
    ax.legend()
plt.show()

# %% [markdown]
# The dotted lines are $s^* = (V R / (4 B^2 N))^{1/5}$, the circles the exact minimisers. To halve
# $s$ pays only with 32 times the averaging.

# %%
counts = np.geomspace(100, 1e8, 13)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
for name, family in FAMILIES.items():
    exact = [best_scale(model, family, int(n)) for n in counts]
    (line,) = left.loglog(counts, exact, "o", markersize=3, label=name)
    law = [optimal_scale(model, family, int(n)) for n in counts]
    left.loglog(counts, law, color=line.get_color())
    least = [
        mean_square_error(model, with_scale(family, s), int(n))
        for s, n in zip(exact, counts, strict=True)
    ]
    right.loglog(counts, np.array(least) * counts**0.8, label=name)
left.set(xlabel="samples N", ylabel="best scale (own units)")
right.set(xlabel="samples N", ylabel="least error times $N^{4/5}$", ylim=(0.03, 0.08))
left.legend()
right.legend()
plt.show()
print([round(optimal_scale(model, Gaussian(1.0), n), 3) for n in (100, 1000, 10_000)])

# %% [markdown]
# ## Families
#
# Compare families at equal $R/s$, not at equal scale or standard deviation: then they have the same
# variance to leading order. At best, they differ by a few per cent.

# %%
halves = np.geomspace(0.05, 1.0, 12)
design = (Uniform(0.5), Triangular(0.5), Gaussian(0.2551), Logistic(0.1365))


def spread(noises):
    found = [variance(model, noise) for noise in noises]
    return max(found) / min(found)


kinds = {
    "equal scale": lambda h: [with_scale(f, h) for f in FAMILIES.values()],
    "scales 0.5, 0.5, 0.2551, 0.1365": lambda h: [each.scaled(h / 0.5) for each in design],
    "equal std": lambda h: [f.scaled(h / math.sqrt(3) / std_of(f)) for f in FAMILIES.values()],
    "equal R / s": lambda h: [matched(f, Uniform(h)) for f in FAMILIES.values()],
}
plt.figure(figsize=(6, 3.4))
for label, kind in kinds.items():
    plt.semilogx(halves, [spread(kind(h)) for h in halves], label=label)
plt.xlabel("uniform half width")
plt.ylabel("largest / smallest variance")
plt.yscale("log")
plt.legend()
plt.show()

# %% [markdown]
# ## Layers
#
# Every hard layer on the way back multiplies the second moment of a gradient by about
# $R\varphi(c)/s$: relative to the squared mean it grows like $s^{-L}$. Hence early layers first.

# %%
plt.figure(figsize=(5, 3.2))
for layers in (1, 2, 3, 4):
    relative = [
        through_layers(Gaussian(s), 0.7, layers, 2) / through_layers(Gaussian(s), 0.7, layers) ** 2
        for s in scales
    ]
    plt.loglog(scales, relative, label=f"{layers} layers")
plt.xlabel("scale s")
plt.ylabel("E product² / (E product)²")
plt.legend()
plt.show()

# %% [markdown]
# ## A weight at its threshold
#
# Loss $(q(w) - w^*)^2/2$, spacing 1, $w^* = k + a$. Straight-through descent turns
# $y = (w - t)/\eta + 1 - a$ by $a$ on a circle of length 1, exactly. The visible weight averages
# $w^*$ and moves up $\min(a, 1 - a)$ times an iteration, whatever $\eta$.

# %% tags=["cover"]
figure, axes = plt.subplots(2, 2, figsize=(10, 4), sharex=True)
for column, rate in enumerate((Fraction(1, 10), Fraction(1, 100))):
    weight = OneWeight(Fraction(37, 100), rate)
    orbit = straight_through(weight, weight.threshold, 60)
    axes[0, column].plot([float(w) for w in orbit.latent], ".-", linewidth=0.5)
    axes[0, column].axhline(0.5, color="k", linestyle=":")
    axes[0, column].set(title=f"learning rate {float(rate):g}", ylabel="latent weight")
    axes[1, column].step(range(60), [float(q) for q in orbit.visible], where="mid")
    axes[1, column].axhline(0.37, color="k", linestyle=":")
    axes[1, column].set(xlabel="iteration", ylabel="visible weight")
plt.show()

# %%
fractions = [Fraction(n, 40) for n in range(1, 40)]


def frequency(a, rate):
    weight = OneWeight(a, rate)
    return ups(straight_through(weight, weight.threshold, 401).visible) / 400


figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.4))
for rate, marker in ((Fraction(1, 100), "o"), (Fraction(1, 2), "x")):
    label = f"learning rate {float(rate):g}"
    left.plot(fractions, [frequency(a, rate) for a in fractions], marker, ms=4, label=label)
left.set(xlabel="fraction a", ylabel="moves up per iteration")
left.legend()
for p in (1, 2):
    stds, rising = [], []
    for m in (0, 2, 4, 8, 16, 32):
        e = np.arange(-m, m + 1) / 5
        stds.append(math.sqrt((e * e).mean()))
        rising.append(noisy(p, 5, np.full(2 * m + 1, 1 / (2 * m + 1))).ups)
    a = p / 5
    (line,) = middle.plot(stds, rising, "o-", ms=4, label=f"a = {p}/5")
    strong = np.linspace(0.8, 3.7, 20)  # uniform noise: E abs(e) = sqrt(3) / 2 std
    middle.plot(strong, a * (1 - a) * math.sqrt(3) / 2 / strong, "--", color=line.get_color())
middle.set(xlabel="std of gradient noise (spacings)", ylabel="moves up per iteration")
middle.legend()
strengths = np.linspace(0, 0.8, 17)
for a in (0.2, 0.63):
    runs = [descend(dampened_gradient(a, c), 0.5, 2e-3, 8001)[1][4000:] for c in strengths]
    (line,) = right.plot(strengths, [ups(v) / 4000 for v in runs], "o", ms=4, label=f"ups, a = {a}")
    right.plot(strengths, [dampened_law(a, c)[0] for c in strengths], color=line.get_color())
    (line,) = right.plot(strengths, [np.mean(v) for v in runs], "x", ms=4, label=f"mean, a = {a}")
    right.plot(strengths, [dampened_law(a, c)[1] for c in strengths], color=line.get_color())
right.set(xlabel="strength of dampening", ylabel="per iteration; spacings")
right.legend(fontsize=7)
plt.show()

# %% [markdown]
# Gradient noise does not move the mean; it makes the weight slower, about
# $a(1 - a)\,E|e|/E e^2$ moves up an iteration (dashed), less by $0.32/\mathrm{std}$ of it.
# Dampening ends oscillation at the strength $2\min(a, 1 - a)$, and before that moves the mean off
# the target.
#
# ## Descent with gradients at the levels
#
# $L(w_n) - L^* \le (1 - \eta\mu)^n (L(w_0) - L^*) + M^2 d\,\Delta^2/(8\mu)$. The floor is met in
# the limit by an identity Hessian with targets just above levels (left), and is far above what
# badly conditioned problems do (right).

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2))
isotropic = Quadratic(np.eye(3), np.full(3, 0.02))
stretched = random_quadratic(np.random.default_rng(0), 6, 10.0)
for ax, problem, rate, n in ((axes[0], isotropic, 0.05, 1500), (axes[1], stretched, 0.02, 1500)):
    start = problem.target + 2.0
    ax.semilogy(excess(problem, start, rate, n), label="latent loss")
    ax.semilogy(bound(problem, start, rate, n), label="bound")
    ax.axhline(problem.floor, color="k", linestyle=":", label="floor")
    ax.set(xlabel="iteration", ylabel="loss above the least")
    ax.legend()
plt.show()

# %% [markdown]
# ## Surrogate derivatives as learning rates
#
# A positive surrogate derivative $S$, the same in every cell, is plain straight-through descent of
# $M(w)$ with the rate $\alpha\eta$: $M' = \alpha/S$, $\alpha$ the harmonic mean of $S$ over a cell.
# Under Cauchy noise of scale $s$, $\alpha = \tanh 2\pi s$.

# %%
surrogates = {
    "$1 + 0.8\\cos 2\\pi y$": Surrogate(cosine(0.8)),
    "normal, std 0.15": noisy_stair(Gaussian(0.15)),
    "normal, std 0.25": noisy_stair(Gaussian(0.25)),
    "Cauchy, scale 0.1": noisy_stair(Cauchy(0.1)),
}
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.6))
w = np.linspace(-0.5, 1.5, 401)
for name, each in surrogates.items():
    left.plot(w, each.transport(w), label=f"{name}: α = {each.alpha:.3f}")
left.plot(w, w, "k:", linewidth=0.8)
left.set(xlabel="latent w (spacings)", ylabel="M(w)")
left.legend(fontsize=7)
grid = np.linspace(0.05, 0.6, 40)
for name, law in (("normal", Gaussian(1.0)), ("logistic", Logistic(1.0)), ("Cauchy", Cauchy(1.0))):
    middle.plot(grid, [noisy_stair(law.scaled(float(s))).alpha for s in grid], label=name)
middle.set(xlabel="scale (spacings)", ylabel="α")
middle.legend()
rates = (0.02, 0.01, 0.005)
for name, each in list(surrogates.items())[:3]:
    rng, gaps = np.random.default_rng(3), []
    for _ in range(12):
        problem = random_quadratic(rng, 6, 3.0)
        start = problem.target + 1.5 * rng.standard_normal(6)
        gaps.append([gap(problem, each, start, rate, 2.0) for rate in rates])
    right.loglog(rates, np.median(gaps, axis=0), "o-", label=name)
right.loglog(rates, rates, "k:", label="rate")
right.set(xlabel="learning rate", ylabel="median of max |M(w) - u| (spacings)")
right.legend(fontsize=7)
plt.show()
