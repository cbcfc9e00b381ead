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
# # How we know
#
# A stochastic kernel that is slightly wrong trains slightly worse, and nobody notices. So the
# kernels here are not trusted; three ladders lead from the exact law to the moves of the release
# build:
#
# | ladder | question | instrument | false alarms |
# |---|---|---|---|
# | (a) law = reference | has the plain NumPy step the law? | enumeration of words | none |
# | (b) reference = kernel | does the fast step do the same? | the same words | none |
# | (c) kernel = law | also of words nobody looked at? | exact tails, e-values | stated |
#
# A kernel with a counter-based generator is a function of (level, increment, word). The first two
# ladders check that function; statistics is the second net.

# %%
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from qcuda.kernels import native
from qcuda.validate.kernels import Draw, torch_kernel
from qreference import edge, philox
from qreference.walker import outcomes, step
from qtheory import DST, Lattice, StochasticRounding
from qtheory.algorithms.dst import law
from qtheory.evidence import (
    EProcess,
    Sprt,
    audit_terms,
    binomial_p_value,
    samples_needed,
    smallest_bias,
    worst_lag,
)
from qtheory.streams import Stream

spec = DST(Lattice.z(2))  # five levels, spacing 1/2
seed, tensor = 20180401, 3

installed = torch_kernel()


def kernel(index, increment, iteration, spec=spec):
    """The installed CPU kernel as a function: indices in, indices out."""
    return installed(index, increment, Draw(spec, seed, iteration, tensor))


# %% [markdown]
# ## (a) Law = reference: all the words
#
# From the level 1 an increment of 0.3 moves the weight 0.6 spacings: one level up with probability
# tanh(1.8). The step is asked about 2^16 words in the middles of equal cells. The share of those
# that move can differ from the law by half a cell, and by nothing else. There is no randomness in
# it.

# %%
every_word = (np.arange(2**16, dtype=np.uint32) << 16) + 2**15
increments = np.linspace(-1.2, 1.2, 193).astype(np.float32)
middle = np.full(2**16, 2)
shares = np.array([
    np.bincount(step(spec, middle, np.full(2**16, x), every_word), minlength=5) / 2**16
    for x in increments
])  # fmt: skip
exact = law(spec, np.full(increments.size, 2), increments)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
for level in range(5):
    left.plot(increments / 0.5, exact[:, level], lw=3, alpha=0.35)
    left.plot(increments / 0.5, shares[:, level], "k", lw=0.7)
left.set(xlabel="increment in spacings", ylabel="probability of each level")
right.plot(increments / 0.5, np.abs(shares - exact).max(axis=-1) * 2**17, "k.", ms=3)
right.axhline(1.0, color="r")
right.set(xlabel="increment in spacings", ylabel="largest difference, in half cells")
plt.tight_layout()
plt.show()
assert np.abs(shares - exact).max() <= 2.0**-17 + 2.0**-31

# %% [markdown]
# ## (b) Reference = kernel: the same words, to the knife edge
#
# Both rooms compare the same word with an integer threshold. The reference computes tanh in
# float64, the kernel a rational function in float32, so thresholds lie up to a few hundred of 2^32
# apart. Only a word between them may decide differently: one in ten million. Below, the difference
# of both thresholds over the width that is derived for it, from 28 roundings and the quality of the
# approximation.

# %%
fractions = np.linspace(0, 1, 20_001, endpoint=False).astype(np.float32)
unit = DST(Lattice.ternary())
codes = np.zeros(fractions.size, np.int8)
ours = native.outcomes(native.library(), native.launch_of(unit, seed=0), codes, fractions)
theirs = outcomes(unit, codes.astype(np.int64) + 1, fractions).thresholds
apart = ours.thresholds.astype(np.int64) - theirs.astype(np.int64)
width = edge(unit, theirs)
plt.figure(figsize=(9, 2.8))
plt.plot(fractions, apart, "k.", ms=1, label="kernel - reference")
plt.plot(fractions, width, "r", fractions, -width, "r", lw=1, label="derived width")
plt.xlabel("fraction of a spacing")
plt.ylabel("thresholds, in 2^-32")
plt.legend()
plt.show()
assert (np.abs(apart) <= width).all()

# %%
count = 2_000_000
rng = np.random.default_rng(1)
index, increment = rng.integers(0, 5, count), rng.normal(0, 0.4, count).astype(np.float32)
words = philox.words(seed, 1, tensor, Stream.MOVE, count)
differ = kernel(index, increment, 1) != step(spec, index, increment, words)
thresholds = outcomes(spec, index, increment).thresholds
away = np.abs(words.astype(np.int64)[:, None] - thresholds.astype(np.int64))
explained = (away <= edge(spec, thresholds)).any(axis=-1)
print(
    f"{count:,} decisions, {differ.sum()} differ, "
    f"{(differ & ~explained).sum()} without an explanation"
)

# %% [markdown]
# ## Tomography: the word behind every decision
#
# A release build has no hook. But with seed, iteration and tensor fixed the hidden word of a weight
# is fixed too, and "did it move?" answers "is the word below the threshold of this increment?".
# Bisection recovers the word of every weight at once, in 24 to 32 launches. Below, stochastic
# rounding: a fraction f has the threshold floor(f 2^32) exactly; float32 fractions resolve a word
# to 24 leading bits.


# %%
def moved(fraction):
    start = np.ones(fraction.size, np.int64)
    return kernel(start, fraction, 5, StochasticRounding(Lattice.ternary())) == 2


low, high = np.zeros(4096), np.ones(4096)  # word / 2**32 is in [low, high)
widths = []
for _ in range(24):
    middle = (low + high) / 2
    below = moved(middle.astype(np.float32))
    low, high = np.where(below, low, middle), np.where(below, middle, high)
    widths.append((high - low).max())
hidden = philox.words(seed, 5, tensor, Stream.MOVE, 4096) / 2.0**32
print("words recovered:", int(((low <= hidden) & (hidden < high)).sum()), "of 4096")
assert ((low <= hidden) & (hidden < high)).all()
plt.figure(figsize=(9, 2.6))
plt.semilogy(np.arange(1, 25), widths, "k.-", base=2)
plt.xlabel("launch")
plt.ylabel("what is left of [0, 1)")
plt.show()

# %% [markdown]
# ## (c) Kernel = law: what a sample can promise
#
# A statistical test has two error rates, and a test that does not state both is not one. With a
# false alarm of 1e-9 and a miss of 1e-3, exact binomial tails give the smallest bias that n draws
# find; the dots are n for a bias of 1e-2 and 1e-3. Multiplying n by 100 buys one digit.

# %%
alarm, miss = 1e-9, 1e-3
draws = np.logspace(3, 8, 16).astype(int)
plt.figure(figsize=(9, 3.4))
for p, colour in ((0.5, "C0"), (0.1, "C1"), (0.01, "C2")):
    curve = [smallest_bias(int(n), p, alarm, miss) for n in draws]
    plt.loglog(draws, curve, colour, label=f"p = {p}")
    for bias in (1e-2, 1e-3):
        plt.plot(samples_needed(p, bias, alarm, miss), bias, colour + "o")
plt.xlabel("draws")
plt.ylabel("smallest bias found")
plt.legend()
plt.show()
print("draws for a bias of 1e-3 at p = 1/2:", f"{samples_needed(0.5, 1e-3, alarm, miss):,}")

# %% [markdown]
# The same as a power curve: the probability that as many draws as a bias of 0.01 at p = 1/2 needs
# raise the alarm, by the bias that the kernel has. It is steep, and flat at 1e-9 in the middle, so
# that one picture shows both error rates.

# %%
from scipy.stats import binom  # noqa: E402

n = samples_needed(0.5, 1e-2, alarm, miss)
k = np.arange(n // 2, n + 1)
first = k[np.searchsorted([-binomial_p_value(int(j), n, 0.5) for j in k[: n // 40]], -alarm)]
biases = np.linspace(-0.015, 0.015, 121)
power = binom.sf(first - 1, n, 0.5 + biases) + binom.cdf(n - first, n, 0.5 + biases)
plt.figure(figsize=(9, 3))
plt.plot(biases, power, "k")
plt.axvline(0.01, color="r", lw=0.8)
plt.axhline(1 - miss, color="r", lw=0.8)
plt.xlabel("bias")
plt.ylabel("probability of an alarm")
plt.show()

# %% [markdown]
# ### Stopping early
#
# Overwhelming evidence need not wait for the last draw. An e-value is a bet against the claim whose
# mean is at most one if the claim is true, so it exceeds 1/a with probability at most a, at any
# time whatever. Black: a correct kernel; red: one whose p is 0.51 for 0.5; blue: a = 1e-9.

# %% tags=["cover"]
plt.figure(figsize=(9, 3))
for bias, colour in ((0.0, "k"), (0.01, "r")):
    for k in range(6):
        process, trace = EProcess(), []
        for batch in range(60):
            wins = np.random.default_rng((k, batch)).random(4000) < 0.5 + bias
            process.multiply(audit_terms(wins, np.full(4000, 0.5)))
            trace.append(process.log_e / np.log(10))
        plt.plot(np.arange(1, 61) * 4000, trace, colour, lw=0.8)
        assert process.rejects(alarm) == (bias > 0)
plt.axhline(9, color="b", lw=0.8)
plt.xlabel("draws")
plt.ylabel("log10 of the e-value")
plt.show()

test = Sprt(0.5, 1e-2, alarm, miss)
used, verdict = 0, None
while verdict is None:
    used += 5000
    wins = int((np.random.default_rng(used).random(5000) < 0.5).sum())
    verdict = test.update(wins, 5000)
print(f"a correct coin: {verdict!r} after {used:,} draws; the fixed sample would take {n:,}")

# %% [markdown]
# ### Words used twice
#
# At p = 1/2 every decision is a fair coin. If a counter forgets the iteration, two launches agree
# everywhere; the agreements at every lag come from one Fourier transform, and each is exactly
# binomial.


# %%
def coins(iterations):
    half = np.full(4096, np.float32(np.arctanh(0.5) / 3 * 0.5))
    ups = [kernel(np.full(4096, 2), half, iteration) == 3 for iteration in iterations]
    return np.concatenate(ups)


for name, iterations in (("iterations 1, 2, 3", (1, 2, 3)), ("iteration 1 three times", (1, 1, 1))):
    worst = worst_lag(coins(iterations))
    print(
        f"{name:<24} worst lag {worst.lag:>6}: {worst.agreements} of {worst.pairs} agree, "
        f"p = {worst.p_value:.2g}"
    )

# %% [markdown]
# ## Do the tests bite?
#
# Every realistic mistake is made, one after the other, and must be caught. The table is made by
# `python tests/mutants/run.py --write`. Most mutants fall to checks that can not raise a false
# alarm. About half would be seen by a second of statistics alone; the others, last bits and rare
# words, by nothing but the same words.

# %%
here = Path.cwd()
root = next(p for p in (here, *here.parents) if (p / "tests" / "README.md").exists())
text = (root / "tests" / "README.md").read_text()
text = text.split("<!-- mutants")[1].split("<!-- end of mutants")[0]
rows = re.findall(r"^\| (?!mutant|---)(.+) \|$", text, re.MULTILINE)
table = [row.split(" | ") for row in rows]
caught = [row for row in table if not row[2].startswith("nothing")]
ladders = sorted({row[2].split(":")[0] for row in caught})
numbers = [
    [sum(r[2].startswith(ladder) and (r[4] != "-") == seen for r in caught) for ladder in ladders]
    for seen in (True, False)
]
plt.figure(figsize=(9, 2.8))
plt.barh(ladders, numbers[0], color="C0", label="statistics alone would see it")
plt.barh(ladders, numbers[1], left=numbers[0], color="C1", label="it would not")
plt.xlabel("mutants, by the ladder that catches them first")
plt.legend()
plt.show()
print(f"{len(caught)} mutants caught, {len(table) - len(caught)} harmless rewritings let pass")
for row in caught[:: max(1, len(caught) // 12)]:
    print(f"  {row[0]:<42} {row[2]}")
