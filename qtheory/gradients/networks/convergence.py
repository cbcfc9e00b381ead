"""When a smoothed stair network converges: a condition that can be checked [leonardi2020].

In the setting of `qtheory.gradients.networks.composition` let m_l = lam**p_l and
s_l = lam**(kappa_l p_l), lam -> 0. If for every layer

    (a) m_l -> 0,   (b) m_l / s_l -> infinity,   (c) limsup K_l e_(l-1) / m_l < 1,

the smoothed network tends to the stair network at every input, those included whose
pre-activations are equal to thresholds. There, c the limit in (c), e_l is at most
D_l G((1 - c) m_l / s_l) to leading order; where the nearest threshold is at a distance gam > 0 it
is D_l G(gam / s_l), and e_(l-1) -> 0 with s_l -> 0 suffices. So errors are powers of lam,

    G(u) ~ C u**-a:    e_l ~ D C (1 - c)**-a lam**(a (kappa - 1) p_l)    at a threshold
                       e_l ~ D C gam**-a     lam**(a kappa p_l)          off thresholds

with a = infinity for exponential and normal tails, below every power, and e_l = 0 in the end for
compact support. Comparing exponents decides (c). The condition is sufficient; "fails" says that
it is not met, and that K copies of one unit (`composition.copies`) then do not converge.

With mean 0 nothing converges at a threshold: the value tends to F(-lim K_l e_(l-1) / s_l), which
is 1/2 if errors vanish faster than the scale. Derived here, not quoted from the papers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy import special  # pyright: ignore[reportMissingTypeStubs]

from qtheory.noise import Cauchy, Smoothing, StudentT, Triangular, Uniform
from qtheory.values import rebuilt

Verdict: TypeAlias = Literal["converges", "borderline", "fails"]
Kind: TypeAlias = Literal["compact", "exponential", "power"]


@dataclass(frozen=True, slots=True)
class TailClass:
    """How G(u) = P(e > u scale) ends: 0 beyond 1 (compact), below every power, or C u**-a.

    Raises ValueError unless a power tail has positive, finite order a and constant C.
    """

    kind: Kind
    order: float = math.inf
    constant: float = 0.0

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        finite = math.isfinite(self.order) and math.isfinite(self.constant)
        if self.kind == "power" and not (finite and min(self.order, self.constant) > 0):
            raise ValueError(
                "a power tail has a positive order and constant, got "
                f"{self.order} and {self.constant}"
            )


def tail_class(noise: Smoothing) -> TailClass:
    """The class of a law. Student-t of n degrees: a = n, C = n**(n/2 - 1) / B(n/2, 1/2).

    >>> round(tail_class(StudentT(2.0, 1.0)).constant, 12), tail_class(Uniform(3.0))
    (0.5, TailClass(kind='compact', order=inf, constant=0.0))
    """
    match noise:
        case Uniform() | Triangular():
            return TailClass("compact")
        case Cauchy():
            return TailClass("power", 1.0, 1.0 / math.pi)
        case StudentT():
            n = noise.df
            log = (0.5 * n - 1.0) * math.log(n) - float(special.betaln(0.5 * n, 0.5))
            return TailClass("power", n, math.exp(log))
        case _:
            return TailClass("exponential")


def tail_from_moment(order: float, moment: float) -> TailClass:
    """All that E abs(e)**a <= moment says of a symmetric law at scale 1: G(u) <= moment / (2 u**a),
    by Markov's inequality."""
    return TailClass("power", order, 0.5 * moment)


class Rate(NamedTuple):
    """An error constant * lam**exponent; exponent infinite: below every power."""

    constant: float
    exponent: float


NO_ERROR = Rate(0.0, math.inf)


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """What the condition asks of one layer.

    tail: of its noise. exponent: p, of its mean. norm: K. kappa: the scale is lam**(kappa p).
    height: D. gap: gam, 0 if a pre-activation is equal to a threshold. centred: the mean is 0.
    Raises ValueError unless p, kappa and D are positive, K and gam not negative.
    """

    tail: TailClass
    exponent: float
    norm: float
    kappa: float = 2.0
    height: float = 1.0
    gap: float = 0.0
    centred: bool = False

    __reduce__ = rebuilt

    def __post_init__(self) -> None:
        positive = all(0 < each < math.inf for each in (self.exponent, self.kappa, self.height))
        if not (positive and 0 <= self.norm < math.inf and self.gap >= 0):
            raise ValueError(
                "a plan has positive exponent, kappa and height, and norm and gap at least 0, got "
                f"{self.exponent}, {self.kappa}, {self.height}, {self.norm}, {self.gap}"
            )


class LayerVerdict(NamedTuple):
    """verdict on a layer; load: the limit c of K e / m; error: e_l if it converges; reason."""

    verdict: Verdict
    load: float
    error: Rate
    reason: str


class Judgement(NamedTuple):
    """The verdict on a network is that of its worst layer."""

    verdict: Verdict
    layers: tuple[LayerVerdict, ...]


def limit_of_ratio(rate: Rate, factor: float, exponent: float) -> float:
    """lim factor rate / lam**exponent: 0, factor * constant, or infinity.

    >>> limit_of_ratio(Rate(0.5, 2.0), 4.0, 2.0), limit_of_ratio(Rate(0.5, 2.0), 4.0, 3.0)
    (2.0, inf)
    """
    if factor * rate.constant == 0.0:
        return 0.0
    if math.isclose(rate.exponent, exponent, rel_tol=1e-12):
        return factor * rate.constant
    return 0.0 if rate.exponent > exponent else math.inf


def judge(plans: tuple[LayerPlan, ...], incoming: Rate = NO_ERROR) -> Judgement:
    """The condition, layer by layer. incoming: the error of what enters the first one.

    Raises ValueError unless that vanishes with lam.

    >>> heavy = tail_class(Cauchy(1.0))
    >>> [judge((LayerPlan(heavy, p, 4.0), LayerPlan(heavy, q, 4.0))).verdict
    ...  for p, q in ((2.0, 1.0), (1.0, 1.0), (1.0, 2.0))]
    ['converges', 'fails', 'fails']
    """
    if not (incoming.constant == 0 or incoming.exponent > 0):
        raise ValueError(f"an incoming error vanishes with lam, got {incoming}")
    found = list[LayerVerdict]()
    worst: Verdict = "converges"
    for plan in plans:
        if worst == "converges":
            found.append(_judge_layer(plan, incoming))
            worst, incoming = found[-1].verdict, found[-1].error
        else:
            found.append(LayerVerdict(worst, math.nan, incoming, "the layer before " + worst))
    return Judgement(worst, tuple(found))


def _judge_layer(plan: LayerPlan, incoming: Rate) -> LayerVerdict:
    if plan.gap > 0:
        reason = "no threshold is met, so that vanishing errors and noise suffice"
        return LayerVerdict("converges", 0.0, _error(plan, plan.gap, plan.kappa), reason)
    stuck = Rate(plan.height, 0.0)
    if plan.centred:
        return LayerVerdict("fails", math.inf, stuck, "mean 0: no limit H+ at a threshold")
    load = limit_of_ratio(incoming, plan.norm, plan.exponent)
    if not _mean_outgrows_scale(plan, incoming):
        return LayerVerdict("fails", load, stuck, f"kappa = {plan.kappa:g}: the scale stays")
    if math.isclose(load, 1.0, rel_tol=1e-12):
        return LayerVerdict("borderline", load, stuck, "K e / m tends to 1")
    if load > 1:
        reason = f"K e / m tends to {load:.4g} > 1: the error outweighs the mean"
        return LayerVerdict("fails", load, stuck, reason)
    reason = f"K e / m tends to {load:.4g} < 1"
    return LayerVerdict("converges", load, _error(plan, 1.0 - load, plan.kappa - 1.0), reason)


def _mean_outgrows_scale(plan: LayerPlan, incoming: Rate) -> bool:
    """(b); noise of compact support needs m >= s + K e only."""
    exact = plan.tail.kind == "compact" and incoming.constant == 0.0
    return plan.kappa >= 1 if exact else plan.kappa > 1


def _error(plan: LayerPlan, distance: float, power: float) -> Rate:
    """D C distance**-a lam**(a power p): the tail beyond distance lam**-(power p)."""
    if plan.tail.kind == "compact":
        return NO_ERROR
    if plan.tail.kind == "exponential":
        return Rate(plan.height, math.inf)
    order = plan.tail.order
    constant = plan.height * plan.tail.constant * distance**-order
    return Rate(constant, order * power * plan.exponent)


def centred_limit(noise: Smoothing, plan: LayerPlan, incoming: Rate) -> float:
    """F(-lim K e / s): lowest limit of a unit step at its threshold under noise of mean 0.

    noise: its law at scale 1.

    >>> centred_limit(Uniform(1.0), LayerPlan(TailClass("compact"), 1.0, 4.0), NO_ERROR)
    0.5
    """
    ratio = limit_of_ratio(incoming, plan.norm, plan.kappa * plan.exponent)
    return float(noise.tail(np.array([ratio]))[0])
