"""What discrete weights do, said exactly: definitions, laws and chains."""

from qtheory.algorithms import DST as DST
from qtheory.algorithms import DeterministicRounding as DeterministicRounding
from qtheory.algorithms import Spec as Spec
from qtheory.algorithms import StochasticRounding as StochasticRounding
from qtheory.lattice import Lattice as Lattice
