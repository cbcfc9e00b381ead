// Stochastic rounding [li2017, Eqs. 5, 6]: one level more with probability f.
#pragma once

#include "walker.h"

namespace qt {

struct stochastic_rounding {
  static QT_FN float probability(const Spec &, int32_t, const Split &s) { return s.fraction; }
};

}  // namespace qt
