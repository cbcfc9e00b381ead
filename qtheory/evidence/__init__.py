"""Verdicts on discrete random things, with both error rates stated.

A claim is judged by one number, its evidence, and spends a share of the suite's false-alarm rate:

    exact     the number of unexplained differences; the claim fails if there is one.
    p-value   a number P with P(P <= a) <= a under the claim, for every a; fails if P <= share.
    e-value   a number E >= 0 with mean at most 1 under the claim, kept as its logarithm;
              fails if E >= 1 / share, which has probability at most share (Markov's inequality).

The false-alarm rate is the probability that a true claim fails; the miss is the probability that
a claim wrong by the stated bias holds. Tails are exact or finite-sample bounds, never asymptotic.
"""

from qtheory.evidence.binomial import binomial_p_value as binomial_p_value
from qtheory.evidence.binomial import samples_needed as samples_needed
from qtheory.evidence.binomial import smallest_bias as smallest_bias
from qtheory.evidence.cells import dkw_p_value as dkw_p_value
from qtheory.evidence.cells import multinomial_p_value as multinomial_p_value
from qtheory.evidence.coins import Repeats as Repeats
from qtheory.evidence.coins import WorstLag as WorstLag
from qtheory.evidence.coins import lag_counts as lag_counts
from qtheory.evidence.coins import repeated_windows as repeated_windows
from qtheory.evidence.coins import worst_lag as worst_lag
from qtheory.evidence.coins import worst_lag_p_value as worst_lag_p_value
from qtheory.evidence.evalues import TILTS as TILTS
from qtheory.evidence.evalues import EProcess as EProcess
from qtheory.evidence.evalues import audit_terms as audit_terms
from qtheory.evidence.evalues import combine as combine
from qtheory.evidence.evalues import log_audit as log_audit
from qtheory.evidence.evalues import log_beta_mixture as log_beta_mixture
from qtheory.evidence.sequential import Sprt as Sprt
from qtheory.evidence.suite import Claim as Claim
from qtheory.evidence.suite import Suite as Suite
