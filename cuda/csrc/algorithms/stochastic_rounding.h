// Stochastic rounding [li2017, Eqs. 5, 6]: one level more with probability f.
#pragma once

#include "../walker.h"

namespace qt {

struct stochastic_rounding {
  static constexpr int resident = 3;  // blocks on a multiprocessor, without spills
  static QT_FN int destinations(const Spec &) { return 2; }

  template <class AnySpec>
  static QT_FN Coin outcomes(const AnySpec &spec, int32_t index, float increment) {
    Split s = split(spec, increment);
    return coin(index, s, s.fraction);
  }
};

}  // namespace qt
