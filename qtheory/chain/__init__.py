"""Exact Markov chains, from the probabilities off the diagonal; the diagonal is implied.

With a stored diagonal a link of 1e-12 leaves few correct digits in 1 - P_ii. Here laws, hitting
times and hitting probabilities are sums of products of non-negative numbers: no subtraction,
so every entry keeps its digits however weak the links are.
"""

from qtheory.chain.hitting import hitting_probabilities as hitting_probabilities
from qtheory.chain.hitting import hitting_times as hitting_times
from qtheory.chain.markov import MarkovChain as MarkovChain
from qtheory.chain.markov import OffDiagonal as OffDiagonal
from qtheory.chain.markov import communication_classes as communication_classes
from qtheory.chain.markov import evolve as evolve
from qtheory.chain.markov import is_irreducible as is_irreducible
from qtheory.chain.markov import recurrent_classes as recurrent_classes
from qtheory.chain.spectrum import spectral_gap as spectral_gap
from qtheory.chain.stationary import is_reversible as is_reversible
from qtheory.chain.stationary import stationary_distribution as stationary_distribution
