// Discrete state transition [deng2018]: one level more with probability tanh(m f).
#pragma once

#include "../walker.h"

namespace qt {

// tanh(x) for x >= 0 as x P(x^2) / Q(x^2): only + * / and no cancellation, since every
// coefficient is positive. Within 5e-8 of tanh in exact arithmetic, relative, on [0, 9.1];
// beyond, tanh is 1 in float32. Rounding adds at most 26 half-ulps (derived in the tests), and may
// take the result past 1, which is certainty too.
template <class AnySpec>
QT_FN float tanh_rational(const AnySpec &spec, float x) {
  x = minimum(x, 9.1f);
  float y = x * x;
  float p = ((1.3177208294494623e-08f * y + 2.048095168818676e-05f) * y + 0.0034877966148440776f) * y;
  p = (p + 0.13374463061541894f) * y + 1.0f;
  float q = ((7.703914786332613e-07f * y + 0.00032728966419341444f) * y + 0.02584733370948536f) * y;
  q = (q + 0.4670777685301871f) * y + 1.0f;
  return over(spec, x * p, q);
}

struct dst {
  static constexpr int resident = 3;  // blocks on a multiprocessor, without spills
  static QT_FN int destinations(const Spec &) { return 2; }

  template <class AnySpec>
  static QT_FN Coin outcomes(const AnySpec &spec, int32_t index, float increment) {
    float m = spec.parameter[0];
    Split s = split(spec, increment);
    return coin(index, s, tanh_rational(spec, m * s.fraction));
  }
};

}  // namespace qt
