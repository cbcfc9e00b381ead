// What lattice walkers share: the whole spacings of an increment are certain, one level more is
// taken with a probability that the algorithm names, and the ends of the lattice stop everything.
#pragma once

#include "../core.h"

namespace qt {

struct Split {
  int32_t sign;    // of the increment: 0, or -1 where it is negative
  int32_t whole;   // whole spacings, without sign
  float fraction;  // what remains, without sign, in [0, 1)
};

// The increment in spacings. Beyond the size of the lattice it makes no difference how far.
QT_FN Split split(const Spec &spec, float increment) {
  float x = increment / spec.spacing;
  float distance = minimum(absolute(x), float(spec.size));
  int32_t whole = int32_t(distance);
  return Split{int32_t(bits(x)) >> 31, whole, distance - float(whole)};
}

// n or, where the sign is -1, -n.
QT_FN int32_t signed_as(int32_t sign, int32_t n) { return (n ^ sign) - sign; }

// The next index. A NaN increment does not move the weight.
template <class Rule>
QT_FN int32_t step(const Spec &spec, int32_t index, float increment, uint32_t word) {
  Split s = split(spec, increment);
  int32_t moves = s.whole + int32_t(below(word, Rule::probability(spec, index, s)));
  moves &= -int32_t(increment == increment);
  int32_t next = index + signed_as(s.sign, moves);
  int32_t last = spec.size - 1;
  next = next > 0 ? next : 0;
  return next < last ? next : last;
}

}  // namespace qt
