"""Exact Markov chains: laws, times and rates to the last digits, however weak the links are.

Chains are stored without their diagonal, which follows from the other entries. If the diagonal is
stored, a link of 1e-12 leaves few correct digits in 1 - P_ii. Here laws, hitting times and hitting
probabilities are sums of products of non-negative numbers; nothing is subtracted.

Every function takes a chain in any form: a transition matrix P with its diagonal as an array,
nested lists or a matrix of scipy.sparse, or one of the classes below. Sets of states are indices,
masks, one integer, sets, ranges or slices. Each function's help says what its error is below.

    >>> law = stationary_distribution([[0.9, 0.1], [0.3, 0.7]])
    >>> law.round(12).tolist(), hitting_times([[0.9, 0.1], [0.3, 0.7]], 1).round(12).tolist()
    ([0.75, 0.25], [10.0, 0.0])

1. A chain, and its forms. P_ij is the probability of going from i to j in one iteration.

    from_transition_matrix          from P; normalise=True divides rows by their sums
    MarkovChain, OffDiagonal        the matrix of the P_ij, i != j
    BirthDeathChain, BandedChain    moves to neighbours, or by at most b
    SparseChain, Cost               few moves of each of up to a million states; what they cost
    JointChain, Operator            weights that move at once; a chain by its products only
    ProductChain, SingleSiteChain   coordinates that move apart: all at once, or one at a time
    lazy                            rests half of the time

2. Evolution. The law after t iterations is initial P**t.

    evolve, propagate                 one chain, a schedule of one
    evolve_inhomogeneous, inhomogeneous_laws    several in turn: the last law, or all
    simulate                                   a path drawn at random

3. Classes and periods. States that reach each other are a class; recurrent if it cannot be left.

    communication_classes, recurrent_classes, transient_states, is_irreducible
    period, is_aperiodic, cyclic_classes

4. Stationary laws, pi P = pi, and reversibility, pi_i P_ij = pi_j P_ji.

    stationary_distribution, stationary_laws                 of one recurrent class, or of each
    Certificate, certify, certified_stationary_distribution, mean_times, verified_times
    exact_stationary_distribution, symbolic_stationary_distribution
    is_reversible, kolmogorov_criterion, unbalanced_cycle, time_reversal
    entropy_rate                                             - sum pi_i P_ij ln P_ij

5. Hitting. T_A is the first iteration in a set A.

    hitting_times, exact_hitting_times    E_i[T_A]
    mean_first_passage_times, times_from  E_i[T_j] of all pairs, or of one i
    hitting_probabilities, committor      P_i(T_A < infinity), P_i(T_B < T_A)
    absorption_probabilities, absorption_times
    escape_time, passage_time, capacity   out of a set; by potential theory
    passage_law                           a passage of a birth-death chain as geometric times
    kemeny_constant                       sum_j pi_j E_i[T_j]
    quasi_stationary, QuasiStationary, exit_law    the law of what has not left a set

6. Convergence. d(t) is the largest total variation distance of a row of P**t from pi.

    total_variation, distances, mixing_time, mixing_bounds, least_distance
    eigenvalues, spectral_gap, relaxation_time
    relaxation_rates, rate, rates_below                      all or single rates, birth-death
    conductance, sweep_conductance, cheeger_bounds, hardy_bounds
    dobrushin_coefficient, overlap, coupling_bound
    Bounds                                                   lower and upper

7. Sums along a chain.

    fundamental_matrix, deviation_matrix, poisson_solution
    asymptotic_variance, autocorrelation_time
    cumulant, deviation, tail_bound, perron                  large deviations

8. Lumping: blocks of states that are a chain of their own.

    is_lumpable, lump, coarsest_lumping, lump_permutations, CountChain

9. Chains with a given law, and energy landscapes.

    metropolis_hastings, barker, dominates
    langevin_proposal, unadjusted, lattice_points
    metropolis_chain, metropolis_rates, single_site_metropolis, parallel_metropolis, gibbs_law
    survey, Landscape, Valley, communication_height, line, lattice_edges
    eyring_kramers_time, log_passage_time, log_diffusion_passage_time, escape_exponents
    anneal, logarithmic_schedule, ends_at_global_minima

10. Weights under training (`qtheory.transition` makes their chains), and figures.

    quadratic_increments, single_site_limit
    plot_law, plot_chain, plot_mixing

You may look for                            It is
    stationary_distributions, steady_states     stationary_laws
    mfpt, mean_hitting_times, expected_times    hitting_times, mean_first_passage_times
    mean_absorption_times                       absorption_times
    slem, second_eigenvalue                     1 - spectral_gap
    timescales, implied_timescales              -1 / ln abs(eigenvalues); relaxation_time
    mixing_rate, conductance_bounds             spectral_gap, cheeger_bounds
    is_ergodic, is_regular                      is_irreducible and is_aperiodic
    is_absorbing, absorbing_states              recurrent_classes of one state
    transient_classes                           communication_classes without recurrent_classes
    expected_rewards, mean_recurrence_times     poisson_solution; 1 / stationary_distribution
    time_correlations, statistical_inefficiency autocorrelation_time, asymptotic_variance
    walk, sample_path, generate                 simulate
    redistribute, predict, matrix_power         evolve
    capacity_flux, reactive_flux                capacity, committor
    entropy_production                          not here; is_reversible says whether it is zero
    pcca, coherent_sets                         not here; coarsest_lumping is exact or nothing
    estimate, fit, mle                          not here: chains are given, not estimated
    to_graph, plot_graph                        not here: `moves` of a chain are its edges
"""

from qtheory.chain.absorption import absorption_probabilities as absorption_probabilities
from qtheory.chain.absorption import absorption_times as absorption_times
from qtheory.chain.absorption import mean_first_passage_times as mean_first_passage_times
from qtheory.chain.annealing import anneal as anneal
from qtheory.chain.annealing import ends_at_global_minima as ends_at_global_minima
from qtheory.chain.annealing import evolve_inhomogeneous as evolve_inhomogeneous
from qtheory.chain.annealing import inhomogeneous_laws as inhomogeneous_laws
from qtheory.chain.annealing import logarithmic_schedule as logarithmic_schedule
from qtheory.chain.banded import BandedChain as BandedChain
from qtheory.chain.birth_death import BirthDeathChain as BirthDeathChain
from qtheory.chain.birth_death_rates import rate as rate
from qtheory.chain.birth_death_rates import rates_below as rates_below
from qtheory.chain.certificate import Certificate as Certificate
from qtheory.chain.certificate import (
    certified_stationary_distribution as certified_stationary_distribution,
)
from qtheory.chain.certificate import certify as certify
from qtheory.chain.certificate import mean_times as mean_times
from qtheory.chain.certificate import verified_times as verified_times
from qtheory.chain.classes import communication_classes as communication_classes
from qtheory.chain.classes import cyclic_classes as cyclic_classes
from qtheory.chain.classes import is_aperiodic as is_aperiodic
from qtheory.chain.classes import is_irreducible as is_irreducible
from qtheory.chain.classes import period as period
from qtheory.chain.classes import recurrent_classes as recurrent_classes
from qtheory.chain.classes import transient_states as transient_states
from qtheory.chain.conductance import cheeger_bounds as cheeger_bounds
from qtheory.chain.conductance import conductance as conductance
from qtheory.chain.conductance import hardy_bounds as hardy_bounds
from qtheory.chain.conductance import sweep_conductance as sweep_conductance
from qtheory.chain.dobrushin import coupling_bound as coupling_bound
from qtheory.chain.dobrushin import dobrushin_coefficient as dobrushin_coefficient
from qtheory.chain.dobrushin import overlap as overlap
from qtheory.chain.escape import escape_exponents as escape_exponents
from qtheory.chain.escape import log_diffusion_passage_time as log_diffusion_passage_time
from qtheory.chain.escape import log_passage_time as log_passage_time
from qtheory.chain.evolution import evolve as evolve
from qtheory.chain.evolution import propagate as propagate
from qtheory.chain.exact import exact_hitting_times as exact_hitting_times
from qtheory.chain.exact import exact_stationary_distribution as exact_stationary_distribution
from qtheory.chain.exact import symbolic_stationary_distribution as symbolic_stationary_distribution
from qtheory.chain.forms import from_transition_matrix as from_transition_matrix
from qtheory.chain.hitting import hitting_probabilities as hitting_probabilities
from qtheory.chain.hitting import hitting_times as hitting_times
from qtheory.chain.joint import JointChain as JointChain
from qtheory.chain.joint import Operator as Operator
from qtheory.chain.joint import quadratic_increments as quadratic_increments
from qtheory.chain.kemeny import kemeny_constant as kemeny_constant
from qtheory.chain.kemeny import times_from as times_from
from qtheory.chain.landscape import Landscape as Landscape
from qtheory.chain.landscape import Valley as Valley
from qtheory.chain.landscape import communication_height as communication_height
from qtheory.chain.landscape import eyring_kramers_time as eyring_kramers_time
from qtheory.chain.landscape import gibbs_law as gibbs_law
from qtheory.chain.landscape import lattice_edges as lattice_edges
from qtheory.chain.landscape import line as line
from qtheory.chain.landscape import metropolis_chain as metropolis_chain
from qtheory.chain.landscape import metropolis_rates as metropolis_rates
from qtheory.chain.landscape import survey as survey
from qtheory.chain.langevin import langevin_proposal as langevin_proposal
from qtheory.chain.langevin import lattice_points as lattice_points
from qtheory.chain.langevin import unadjusted as unadjusted
from qtheory.chain.large_deviations import cumulant as cumulant
from qtheory.chain.large_deviations import deviation as deviation
from qtheory.chain.large_deviations import tail_bound as tail_bound
from qtheory.chain.lumping import CountChain as CountChain
from qtheory.chain.lumping import coarsest_lumping as coarsest_lumping
from qtheory.chain.lumping import is_lumpable as is_lumpable
from qtheory.chain.lumping import lump as lump
from qtheory.chain.lumping import lump_permutations as lump_permutations
from qtheory.chain.markov import MarkovChain as MarkovChain
from qtheory.chain.markov import OffDiagonal as OffDiagonal
from qtheory.chain.mixing import Bounds as Bounds
from qtheory.chain.mixing import distances as distances
from qtheory.chain.mixing import least_distance as least_distance
from qtheory.chain.mixing import mixing_bounds as mixing_bounds
from qtheory.chain.mixing import mixing_time as mixing_time
from qtheory.chain.mixing import total_variation as total_variation
from qtheory.chain.passage import passage_law as passage_law
from qtheory.chain.passage import relaxation_rates as relaxation_rates
from qtheory.chain.perron import perron as perron
from qtheory.chain.plots import plot_chain as plot_chain
from qtheory.chain.plots import plot_law as plot_law
from qtheory.chain.plots import plot_mixing as plot_mixing
from qtheory.chain.potential import capacity as capacity
from qtheory.chain.potential import committor as committor
from qtheory.chain.potential import escape_time as escape_time
from qtheory.chain.potential import passage_time as passage_time
from qtheory.chain.product import ProductChain as ProductChain
from qtheory.chain.product import SingleSiteChain as SingleSiteChain
from qtheory.chain.product import parallel_metropolis as parallel_metropolis
from qtheory.chain.product import single_site_limit as single_site_limit
from qtheory.chain.product import single_site_metropolis as single_site_metropolis
from qtheory.chain.quasi_stationary import QuasiStationary as QuasiStationary
from qtheory.chain.quasi_stationary import exit_law as exit_law
from qtheory.chain.quasi_stationary import quasi_stationary as quasi_stationary
from qtheory.chain.reversibility import barker as barker
from qtheory.chain.reversibility import dominates as dominates
from qtheory.chain.reversibility import kolmogorov_criterion as kolmogorov_criterion
from qtheory.chain.reversibility import metropolis_hastings as metropolis_hastings
from qtheory.chain.reversibility import time_reversal as time_reversal
from qtheory.chain.reversibility import unbalanced_cycle as unbalanced_cycle
from qtheory.chain.simulation import entropy_rate as entropy_rate
from qtheory.chain.simulation import simulate as simulate
from qtheory.chain.sparse import Cost as Cost
from qtheory.chain.sparse import SparseChain as SparseChain
from qtheory.chain.spectrum import eigenvalues as eigenvalues
from qtheory.chain.spectrum import relaxation_time as relaxation_time
from qtheory.chain.spectrum import spectral_gap as spectral_gap
from qtheory.chain.stationary import is_reversible as is_reversible
from qtheory.chain.stationary import stationary_distribution as stationary_distribution
from qtheory.chain.structure import lazy as lazy
from qtheory.chain.structure import stationary_laws as stationary_laws
from qtheory.chain.variance import asymptotic_variance as asymptotic_variance
from qtheory.chain.variance import autocorrelation_time as autocorrelation_time
from qtheory.chain.variance import deviation_matrix as deviation_matrix
from qtheory.chain.variance import fundamental_matrix as fundamental_matrix
from qtheory.chain.variance import poisson_solution as poisson_solution
