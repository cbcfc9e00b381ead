// Bop [helwegen2019]: one level in the direction of an increment that exceeds a threshold.
#pragma once

#include "../walker.h"

namespace qt {

struct bop {
  static constexpr int resident = 3;  // blocks on a multiprocessor, without spills
  static QT_FN int destinations(const Spec &) { return 3; }

  template <class AnySpec>
  static QT_FN Neighbours outcomes(const AnySpec &spec, int32_t index, float increment) {
    return one_level(index, spacings(spec, increment), spec.parameter[0]);
  }
};

template <>
constexpr bool certain<bop> = true;

}  // namespace qt
