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
# # Coarse gradients, in closed form
#
# A filter $w$ looks at $m$ patches $z_1, \dots, z_m$ of independent standard normal numbers, a hard
# threshold $H(x) = 1\{x > 0\}$ fires or not, and $v$ adds the firings: $y = v^\top H(Zw)$. A
# teacher $v^*, w^*$ with $\|w^*\| = 1$ has the answers; $\theta$ is the angle between $w$ and
# $w^*$. Then (Yin et al. 2019)
#
# $$f = \tfrac12 E (y - y^*)^2 = \tfrac18\bigl[v^\top(I + 11^\top)v - 2 v^\top\bigl((1 -
# \tfrac{2\theta}{\pi}) I + 11^\top\bigr)v^* + v^{*\top}(I + 11^\top)v^*\bigr],$$
#
# $$\frac{\partial f}{\partial w} = -\frac{v^\top v^*}{2\pi\|w\|}\,u, \qquad u = \text{unit vector
# of } (I - n n^\top)w^*, \qquad n = \frac{w}{\|w\|}.$$
#
# The chain rule sees none of this: $H' = 0$. It is given a surrogate $\mu'$ in place of $H'$, and
# what comes out on average is a *coarse gradient*,
#
# $$E g = |v|^2 a_1 - v^\top v^*\,a_2 + \tfrac12\bigl[(1^\top v)^2 - |v|^2 - (1^\top v)(1^\top v^*)
# + v^\top v^*\bigr]a_0,$$
#
# $$a_0 = E z\mu'(z^\top w), \quad a_1 = E z\mu'(z^\top w)H(z^\top w), \quad
# a_2 = E z\mu'(z^\top w)H(z^\top w^*).$$
#
# | surrogate | $\mu'$ | $E g$ |
# |---|---|---|
# | identity | $1$ | $(\lvert v\rvert^2 n - v^\top v^* w^*)/\sqrt{2\pi}$ |
# | ReLU | $H$ | $\bigl(h\,n - v^\top v^* (n + w^*)\bigr)/(2\sqrt{2\pi})$ |
# | clipped ReLU | $1\{0<x<1\}$ | $\tfrac h2 p(0)\,n - v^\top v^*(p(\theta)\,n + q(\theta)\,u)$ |
# | normal noise | $\varphi(x/s)/s$ | $\lvert v\rvert^2 a_1 - v^\top v^* a_2$ |
#
# with $h = |v|^2 + (1^\top v)^2 - (1^\top v)(1^\top v^*) + v^\top v^*$, and for normal noise of std
# $s$
#
# $$a_1 = \frac{s}{2\pi(s^2 + \|w\|^2)} n, \quad a_2 = \frac{w^* - (1 - \tau^2)\cos\theta\,n}
# {2\pi\,\kappa\sqrt{s^2 + \|w\|^2}}, \quad \tau^2 = \frac{s^2}{s^2 + \|w\|^2}, \quad
# \kappa^2 = \sin^2\theta + \tau^2\cos^2\theta.$$
#
# The print was not at hand; every formula is checked by Monte Carlo in the ledger,
# `papers/yin2019.md`; `qtheory reproduce yin2019` makes its numbers. All quantities are pure
# numbers: patches have unit variance, and that is the unit of $w$ and of the noise.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np

from qpapers.yin2019.samples import INSTANCE, deviations
from qtheory.gradients.coarse.dynamics import (
    descend,
    fixed,
    lifetime,
    near_spurious,
    proportional,
)
from qtheory.gradients.coarse.formulas import Layer, Setting, filter_gradient, geometry
from qtheory.gradients.coarse.landscape import (
    best_output,
    saddle_angle,
    size_at_spurious,
    spurious_minimum,
)
from qtheory.gradients.coarse.surrogates import (
    CLIPPED_RELU,
    IDENTITY,
    RELU,
    Window,
    bias,
    coarse_gradient,
    small_noise_bias,
)
from qtheory.noise import Cauchy, Gaussian, Logistic, Triangular, Uniform, std_of, with_scale

plt.rcParams["figure.constrained_layout.use"] = True
teacher = INSTANCE.teacher

# %% [markdown]
# ## Formula and samples
#
# $10^5$ samples; the largest difference of any component, in standard errors: loss, gradient in
# $v$, then five surrogates.

# %%
surrogates = (RELU, IDENTITY, CLIPPED_RELU, Gaussian(0.5), Cauchy(0.2))
found = deviations(INSTANCE, surrogates, 100_000, 3)
print(" ".join(f"{x:.2f}" for x in found))
assert max(found) < 5

# %% [markdown]
# ## Vector fields
#
# Arrows show $-E g$, what descent does to $w$, in the plane of $w$ and $w^*$ with $v$ fixed
# ($v^\top v^* > 0$). The true gradient only turns $w$: it has no part along $w$, for the loss does
# not see $\|w\|$. Every coarse gradient turns it the same way, with $\langle E g, \partial
# f/\partial w\rangle = (v^\top v^*)^2\,E[\mu'(\|w\|x)\varphi(x\cot\theta)]/(2\pi\|w\|) \ge 0$, but
# most also change its length. Colours give the angle between both, in degrees; little noise is
# nearly the truth.

# %% tags=["cover"]
flat = Layer(teacher.output, np.array([1.0, 0.0]))
side = np.linspace(-1.6, 1.6, 14)  # none is 0, where a filter has no direction
rules = {
    "true gradient": filter_gradient,
    "ReLU": fixed(RELU),
    "identity": fixed(IDENTITY),
    "clipped ReLU": fixed(CLIPPED_RELU),
    "normal noise, s = 0.05": fixed(Gaussian(0.05)),
    "normal noise, s = 0.2": fixed(Gaussian(0.2)),
    "normal noise, s = 1": fixed(Gaussian(1.0)),
    "uniform noise, half width 0.5": fixed(Uniform(0.5)),
}
figure, axes = plt.subplots(2, 4, figsize=(12, 6.4), sharex=True, sharey=True)
points = [
    Setting(flat, Layer(INSTANCE.student.output, np.array([x, y]))) for x in side for y in side
]
truths = np.array([filter_gradient(at) for at in points])
worst = {}
for ax, (name, rule) in zip(axes.flat, rules.items(), strict=True):
    arrows = np.array([rule(at) for at in points])
    sizes = np.linalg.norm(arrows, axis=1)
    seen = (np.linalg.norm(truths, axis=1) > 0) & (sizes > 0)
    cosines = np.zeros(len(points))
    cosines[seen] = (arrows * truths).sum(axis=1)[seen]
    cosines[seen] /= sizes[seen] * np.linalg.norm(truths, axis=1)[seen]
    degrees = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    degrees[~seen] = 90.0
    worst[name] = float(degrees[seen].max())
    xy = np.array([at.student.filter for at in points])
    shown = -arrows / np.maximum(sizes, 1e-300)[:, None] * (sizes > 1e-12)[:, None]
    quiver = ax.quiver(
        *xy.T, *shown.T, degrees, clim=(0, 90), cmap="viridis", scale=18, width=0.005
    )
    ax.plot(1, 0, "r*", markersize=10)
    ax.set(title=name, aspect="equal")
for ax in axes[1]:
    ax.set_xlabel("w along w*")
for ax in axes[:, 0]:
    ax.set_ylabel("w across w*")
figure.colorbar(quiver, ax=axes, label="angle to the true gradient (degrees)", shrink=0.8)
plt.show()
assert max(worst.values()) <= 90
print({name: round(x, 1) for name, x in worst.items()})

# %% [markdown]
# ## Angle and bias against the scale of the noise
#
# For any law with a variance the bias has two parts,
#
# $$\text{along } w:\ \frac{|v|^2\,E|e|}{2\sqrt{2\pi}\,\|w\|^2} \sim s, \qquad
# \text{along } u:\ \frac{v^\top v^*\,\operatorname{var} e}{4\pi\|w\|^3\sin^2\theta} \sim s^2.$$
#
# The first is harmless where the length of $w$ is kept, the second is what a kernel estimate of a
# surface integral has. Cauchy noise has no variance, and its second part is of first order too.

# %%
scales = np.geomspace(1e-3, 1e1, 41)
laws = {
    "normal": Gaussian(1.0),
    "uniform": Uniform(1.0),
    "triangular": Triangular(1.0),
    "logistic": Logistic(1.0),
    "Cauchy": Cauchy(1.0),
}
truth = filter_gradient(INSTANCE)
size = np.linalg.norm(truth)
figure, axes = plt.subplots(1, 3, figsize=(12, 3.6))
for name, law in laws.items():
    unit = 1.0 if name == "Cauchy" else std_of(law)
    noises = [with_scale(law, s / unit) for s in scales]
    gradients = np.array([coarse_gradient(INSTANCE, noise) for noise in noises])
    cosines = gradients @ truth / (np.linalg.norm(gradients, axis=1) * size)
    off = [bias(INSTANCE, noise) for noise in noises]
    axes[0].semilogx(scales, np.degrees(np.arccos(cosines)), label=name)
    axes[1].loglog(scales, np.abs([b.along for b in off]), label=name)
    axes[2].loglog(scales, np.abs([b.across for b in off]), label=name)
    assert (cosines > 0).all()
leading = [small_noise_bias(INSTANCE, Gaussian(s)) for s in scales[:28]]
axes[1].loglog(scales[:28], [b.along for b in leading], "k:", label="leading, normal")
axes[2].loglog(scales[:28], [b.across for b in leading], "k:", label="leading, normal")
for name, surrogate in (("identity", IDENTITY), ("ReLU", RELU), ("clipped ReLU", CLIPPED_RELU)):
    g = coarse_gradient(INSTANCE, surrogate)
    degrees = math.degrees(math.acos(g @ truth / (np.linalg.norm(g) * size)))
    axes[0].axhline(degrees, color="grey", lw=0.8)
    axes[0].text(1.1e-3, degrees + 0.4, name, fontsize=8)
axes[0].set(ylabel="angle to the true gradient (degrees)")
axes[1].set(ylabel="bias along w (loss per unit of w)")
axes[2].set(ylabel="bias along u (loss per unit of w)", ylim=(1e-8, 2))
for ax in axes:
    ax.set_xlabel("std of the noise (Cauchy: scale)")
axes[2].legend(fontsize=8)
plt.show()

# %% [markdown]
# ## The spurious minimum
#
# For a fixed angle the best output weights are $v(\theta) = (I + 11^\top)^{-1}\bigl((1 -
# \tfrac{2\theta}{\pi})I + 11^\top\bigr)v^*$, and on them $h = 2(1 - \theta/\pi)\,v^\top v^*$. With
# $S = 1^\top v^*$, if $S^2 < \tfrac{m+1}{2}|v^*|^2$ the loss on $v(\theta)$ rises to a saddle at
#
# $$\theta = \frac\pi2\,\frac{(m+1)|v^*|^2}{(m+1)|v^*|^2 - S^2}$$
#
# and falls to a local minimum at $\theta = \pi$. There the coarse gradient of any surrogate is
#
# $$E g = -\frac{2(m-1)S^2}{(m+1)^2}\;E\bigl[x\,\mu'(\|w\|x);\,x < 0\bigr]\,n,$$
#
# so a surrogate rests there if it is 0 below the threshold (ReLU, clipped ReLU, noise on one side),
# and no symmetric noise does.

# %%
angles = np.linspace(0, math.pi, 400)


def on_best(v):
    """Loss on v(t), with h = 2 (1 - t / pi) v'v* put in."""
    layer = Layer(v, teacher.filter)
    best = np.array([best_output(layer, t) for t in angles])
    k = 1 - 2 * angles / math.pi
    return (v @ v + v.sum() ** 2 - k * (best @ v) - best.sum(axis=1) * v.sum()) / 8


figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
for v in ([1, -1, 2, 0.5], [1, 0.2, 2, 0.5], [1, 1, 2, 0.5]):
    line = on_best(np.array(v, dtype=float))
    axes[0].plot(np.degrees(angles), line, label=f"v* = {tuple(v)}")
axes[0].axvline(math.degrees(saddle_angle(teacher)), color="grey", ls=":", lw=1)
axes[0].set(xlabel="angle (degrees)", ylabel="loss on the best v")
axes[0].legend(fontsize=8)
wide = np.geomspace(0.01, 100, 60)
for name, at in (
    ("normal", [Gaussian(s) for s in wide]),
    ("uniform", [Uniform(s) for s in wide]),
    ("logistic", [Logistic(s) for s in wide]),
):
    axes[1].loglog(wide, [size_at_spurious(teacher, s) for s in at], label=name)
axes[1].set(xlabel="scale of the noise", ylabel="size of E g at the spurious minimum")
axes[1].axhline(size_at_spurious(teacher, IDENTITY), color="k", ls="--", label="identity")
axes[1].legend(fontsize=8)
plt.show()
at = spurious_minimum(teacher)
one_sided = Window(0.0, 0.1, 10.0)
for surrogate in (RELU, CLIPPED_RELU, one_sided):
    assert np.linalg.norm(coarse_gradient(at, surrogate)) < 1e-14

# %% [markdown]
# ## Descent
#
# From a point .01 beside that minimum, learning rate .01. The ReLU stays. The identity pushes $w$
# towards 0, steps over it, and stands at $\theta = 0$ with output weights for $\theta = \pi$: the
# loss jumps to 5/2, again and again. Normal noise of a fixed std does the same; and so does noise
# whose std is proportional to $\|w\|$, which has been proposed as a cure: with $K =
# 2(m-1)S^2/(m+1)^2$ and learning rate $\eta$, $\|w\|$ lasts
#
# $$\frac{\sqrt{2\pi}}{K\eta} \text{ (identity)}, \qquad \frac{2\pi(s^2 + 1/3)}{sK\eta} \text{ (std
# } s), \qquad \frac{\pi(c + 1/c)}{K\eta} \text{ (std } c\|w\|)$$
#
# iterations. Keeping $\|w\| = 1$ is a cure, and so is noise on one side of the threshold.

# %%
start, rate, iterations = near_spurious(teacher, 0.01, 0), 0.01, 1500
runs = {
    "ReLU": (fixed(RELU), False),
    "identity": (fixed(IDENTITY), False),
    "normal, s = 0.5": (fixed(Gaussian(0.5)), False),
    "normal, s = |w| / 2": (proportional(Gaussian(1.0), 0.5), False),
    "normal, s = 0.5, |w| kept at 1": (fixed(Gaussian(0.5)), True),
    "uniform on (0, 0.1)": (fixed(one_sided), False),
}
paths = {
    name: descend(start, rule, rate, iterations, normalised=kept)
    for name, (rule, kept) in runs.items()
}
figure, axes = plt.subplots(2, 3, figsize=(12, 5.4), sharex=True, sharey=True)
for ax, (name, path) in zip(axes.flat, paths.items(), strict=True):
    ax.plot(path.loss, lw=0.8, label="loss")
    ax.plot(path.length, lw=0.8, label="length of w")
    ax.set_title(name)
sizes = {
    "identity": lambda r: size_at_spurious(teacher, IDENTITY, r),
    "normal, s = 0.5": lambda r: size_at_spurious(teacher, Gaussian(0.5), r),
    "normal, s = |w| / 2": lambda r: size_at_spurious(teacher, Gaussian(0.5 * r), r),
}
for ax, name in zip(axes.flat, runs, strict=True):
    if name in sizes:
        life = lifetime(sizes[name], rate)
        ax.axvline(life, color="grey", ls=":", lw=1, label="lifetime of w")
        assert abs(np.argmax(paths[name].loss > 1.5) / life - 1) < 0.02
for ax in axes[1]:
    ax.set_xlabel("iteration")
for ax in axes[:, 0]:
    ax.set_ylabel("loss; length of w")
axes[0, 1].legend(fontsize=8)
plt.show()
for name in ("ReLU", "normal, s = 0.5, |w| kept at 1", "uniform on (0, 0.1)"):
    assert abs(paths[name].loss[-1] - 0.625) < 1e-4
    assert geometry(paths[name].end).angle > 3.14
