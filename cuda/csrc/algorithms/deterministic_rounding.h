// Deterministic rounding [li2017, Eqs. 3, 4]: to the nearest level. Ties go away from the value
// 0, and upwards where the half-way point is 0.
#pragma once

#include "../walker.h"

namespace qt {

struct deterministic_rounding {
  static constexpr int resident = 3;  // blocks on a multiprocessor, without spills
  static QT_FN int destinations(const Spec &) { return 2; }

  template <class AnySpec>
  static QT_FN Coin outcomes(const AnySpec &spec, int32_t index, float increment) {
    Split s = split(spec, increment);
    float reach = float(s.whole) + 0.5f;
    float half_way = float(index) + (s.sign ? -reach : reach);
    bool outward = (half_way >= spec.zero) == (s.sign == 0);
    bool more = (s.fraction > 0.5f) | ((s.fraction == 0.5f) & outward);
    return coin(index, s, more ? 1.0f : 0.0f);
  }
};

template <>
constexpr bool certain<deterministic_rounding> = true;

}  // namespace qt
