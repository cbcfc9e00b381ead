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
# # Exact chains
#
# A weight on a lattice is a Markov chain. What matters about training (where it settles, how long
# that takes, how it gets out of a bad valley) are properties of that chain, and slow ones hang on
# probabilities that are far below a rounding of one. Here they are asked of a double well that is
# made colder and colder: what holds digits, what does not, and what the inequalities of the
# textbooks are worth.

# %%
import matplotlib.pyplot as plt
import numpy as np

from qtheory import Lattice, StochasticRounding
from qtheory.chain import (
    MarkovChain,
    autocorrelation_time,
    cheeger_bounds,
    committor,
    distances,
    hardy_bounds,
    hitting_times,
    kemeny_constant,
    lazy,
    metropolis_hastings,
    mixing_bounds,
    mixing_time,
    passage_law,
    plot_chain,
    plot_law,
    plot_mixing,
    quasi_stationary,
    relaxation_rates,
    spectral_gap,
    stationary_distribution,
    tail_bound,
    unbalanced_cycle,
)
from qtheory.increments import noisy_increments_at_levels
from qtheory.noise import Gaussian
from qtheory.transition import weight_chain

levels = np.linspace(-1.2, 1.2, 25)
energy = (levels**2 - 1) ** 2 + 0.1 * levels
walk = MarkovChain(0.5 * (np.eye(25, k=1) + np.eye(25, k=-1)))


def well(temperature: float) -> MarkovChain:
    """Proposals to neighbours, accepted by Metropolis' rule."""
    return metropolis_hastings(walk, np.exp(-(energy - energy.min()) / temperature))


# %% [markdown]
# ## A chain, its law, and how it gets there

# %%
warm = well(0.2)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
plot_chain(warm, levels, ax=axes[0])
plot_law(stationary_distribution(warm), levels, ax=axes[1])
plt.tight_layout()
plt.show()

# %%
ax = plot_mixing(warm, label="T = 0.2")
plot_mixing(well(0.15), label="T = 0.15", ax=ax)
ax.set_xscale("log")
plt.show()
lower, upper = mixing_bounds(warm)
print(f"mixing time {mixing_time(warm)}, by the gap between {lower:.0f} and {upper:.0f}")
assert lower <= mixing_time(warm) <= upper

# %% [markdown]
# ## Colder: a stored diagonal forgets the link
#
# The chain is given by what is off the diagonal. A method that works with P itself sees the link
# between the wells through 1 - P_ii, to 1e-16: below T = 0.03 its answers are made of rounding.

# %% tags=["cover"]
temperatures = np.array([0.2, 0.1, 0.07, 0.05, 0.04, 0.03, 0.025, 0.02, 0.015, 0.01])
exact, naive, rates, naive_rates = [], [], [], []
for temperature in temperatures:
    chain = well(temperature)
    full = chain.transition_matrix
    exact.append(hitting_times(chain, [22])[2])
    naive.append(abs(np.linalg.solve(np.eye(22) - full[:22, :22], np.ones(22))[2]))
    rates.append(relaxation_rates(chain)[0])
    naive_rates.append(abs(1 - np.sort(np.linalg.eigvals(full).real)[-2]))
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
axes[0].semilogy(1 / temperatures, exact, "k.-", label="eliminated without subtraction")
axes[0].semilogy(1 / temperatures, naive, "r--", label="solve(I - P)")
axes[0].set_ylabel("iterations from left to right")
axes[1].semilogy(1 / temperatures, rates, "k.-", label="singular values of a bidiagonal")
axes[1].semilogy(1 / temperatures, naive_rates, "r--", label="1 - eigvals(P)")
axes[1].set_ylabel("spectral gap")
for axis in axes:
    axis.set_xlabel("1 / temperature")
    axis.legend()
plt.tight_layout()
plt.show()
print(f"T = 0.01: {exact[-1]:.6e} iterations, by `solve` {naive[-1]:.3e}")
assert abs(naive[-1] / exact[-1] - 1) > 0.9

# %% [markdown]
# ## What inequalities are worth
#
# Cheeger's bounds hold, and their lower one is the square of what it should be. Hardy's
# inequality gives the gap within a factor of eight at every temperature.

# %%
hardy = np.array([hardy_bounds(well(t)) for t in temperatures])
cheeger = np.array([cheeger_bounds(well(t)) for t in temperatures])
plt.figure(figsize=(6, 3.2))
plt.fill_between(1 / temperatures, *cheeger.T, alpha=0.2, label="Cheeger")
plt.fill_between(1 / temperatures, *hardy.T, alpha=0.5, label="Hardy")
plt.semilogy(1 / temperatures, rates, "k", label="gap")
plt.xlabel("1 / temperature")
plt.legend()
plt.show()
for bounds in (hardy, cheeger):
    assert (bounds[:, 0] <= rates).all() and (rates <= bounds[:, 1]).all()
assert np.allclose(hardy[:, 1] / hardy[:, 0], 8)

# %% [markdown]
# ## Staying and leaving
#
# Within the right well the chain forgets where it came from long before it leaves: the
# quasi-stationary law. From there the time of leaving is geometric and independent of the place.
# The committor, the probability of falling to the right, is a step; its 1/2 is the ridge.

# %%
cold = well(0.05)
ridge = int(np.argmax(energy * (np.abs(levels) < 0.5)))
staying = quasi_stationary(cold, range(ridge + 1, 25))
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
plot_law(staying.law, levels, ax=axes[0], label="quasi-stationary")
axes[1].plot(levels, committor(cold, [2], [22]), "k.-")
axes[1].plot(levels, energy / energy.max(), "r:", label="energy")
axes[1].set_ylabel("committor")
axes[1].legend()
plt.tight_layout()
plt.show()
print(f"leaves the right well with probability {staying.leaving:.6e} an iteration")
print(f"autocorrelation time of the weight {autocorrelation_time(cold, levels):.4e}")
print(f"Kemeny's constant {kemeny_constant(cold):.4e}, 1 / gap {1 / spectral_gap(cold):.4e}")

# %% [markdown]
# ## A passage is a sum of geometric times
#
# One for each rate of the chain killed at the end (Keilson; Fill). In a double well one of them is
# nearly all of it. The chain is made lazy, so that no rate exceeds one. The histogram is a
# simulation of the passage itself.

# %%
warm = lazy(well(0.3))
law = passage_law(warm)
draw = np.random.default_rng(1)
position, times = np.zeros(4000, dtype=int), np.zeros(4000)
up = np.r_[warm.off_diagonal.diagonal(1), 0.0]
down = np.r_[0.0, warm.off_diagonal.diagonal(-1)]
while (moving := position < 24).any():
    u = draw.random(4000)
    move = (u < up[position]).astype(int) - (u > 1 - down[position])
    position, times = position + np.where(moving, move, 0), times + moving
sums = draw.geometric(law.rates[:, None], (24, 4000)).sum(axis=0)
plt.figure(figsize=(6, 3.2))
plt.hist(times, bins=60, density=True, alpha=0.5, label="walked")
plt.hist(sums, bins=60, density=True, histtype="step", color="k", label="sum of geometric")
plt.xlabel("iterations from end to end")
plt.legend()
plt.show()
error = np.sqrt(law.variance / times.size)
print(f"mean {law.mean:.1f} exactly, {times.mean():.1f} walked, standard error {error:.1f}")
assert abs(times.mean() - law.mean) <= 6 * error  # beyond 6 with probability 2e-9, nearly normal

# %% [markdown]
# ## Sums that are unlikely, with a bound that holds for every length

# %%
right = (levels > 0).astype(float)
share = float(stationary_distribution(warm) @ right)
lengths = np.unique(np.geomspace(10, 400_000, 30).astype(int))
plt.figure(figsize=(6, 3.2))
for mean in (share + 0.1, share + 0.2, share + 0.4):
    bounds = [tail_bound(warm, right, mean, int(n))[0] for n in lengths]
    plt.semilogy(lengths, bounds, label=f"{mean:.2f} of the time on the right")
plt.xlabel("iterations")
plt.ylabel("P at most")
plt.legend()
plt.show()

# %% [markdown]
# ## A learning rate anneals nothing
#
# Stochastic rounding of increments that never exceed a spacing: as the learning rate falls, the gap
# falls in proportion and the law stays where it is, exactly. Gaussian noise exceeds a spacing
# (here 1/8) with a small probability, and from a learning rate of 0.01 on, with none a float has.

# %%
lattice = Lattice.z(4)
laws, gaps = [], []
learning_rates = np.array([4e-2, 2e-2, 1e-2, 5e-3])
for learning_rate in learning_rates:
    increments = noisy_increments_at_levels(
        lambda w: 0.8 * (w**3 - w) + 0.02, lattice, float(learning_rate), Gaussian(1.0)
    )
    chain = weight_chain(StochasticRounding(lattice), increments)
    laws.append(stationary_distribution(chain))
    gaps.append(spectral_gap(chain))
plt.figure(figsize=(6, 3.2))
for learning_rate, one in zip(learning_rates, laws, strict=True):
    plt.plot(lattice.levels, one, label=f"learning rate {learning_rate:g}")
plt.xlabel("weight")
plt.legend()
plt.show()
for learning_rate, gap, one in zip(learning_rates, gaps, laws, strict=True):
    away = 0.5 * np.abs(one - laws[-1]).sum()
    print(f"{learning_rate:6g}  gap / learning rate {gap / learning_rate:.9e}  TV {away:.1e}")
assert 0.5 * np.abs(laws[-2] - laws[-1]).sum() < 1e-12

# %% [markdown]
# That chain is none of Metropolis': with increments above a spacing it turns, as a cycle shows.

# %%
turning = noisy_increments_at_levels(lambda w: w - 0.3, lattice, 0.2, Gaussian(1.0))
chain = weight_chain(StochasticRounding(lattice), turning)
print("an unbalanced cycle:", unbalanced_cycle(chain))
print("distance after 1, 10, 100 iterations:", distances(chain, [1, 10, 100]).round(6))
