// Ternary Bop, after [helwegen2019]: one level in the direction of an increment beyond a threshold,
// which the level in the middle has for itself. A weight that moves begins its momentum anew.
#pragma once

#include "../walker.h"

namespace qt {

struct ternary_bop {
  static constexpr int resident = 2;  // blocks on a multiprocessor, without spills
  static QT_FN int destinations(const Spec &) { return 3; }

  template <class AnySpec>
  static QT_FN Neighbours outcomes(const AnySpec &spec, int32_t index, float increment) {
    float outer = spec.parameter[0], hysteresis = spec.parameter[1];
    bool in_the_middle = 2 * index == spec.size - 1;
    float threshold = in_the_middle ? outer * hysteresis : outer;
    return one_level(index, spacings(spec, increment), threshold);
  }
};

template <>
constexpr bool forgets<ternary_bop> = true;

template <>
constexpr bool certain<ternary_bop> = true;

}  // namespace qt
