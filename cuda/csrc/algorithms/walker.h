// What lattice walkers share: the whole spacings of an increment are certain, one level more is
// taken with a probability that the algorithm names, and the ends of the lattice stop everything.
#pragma once

#include "../core.h"

namespace qt {

struct Split {
  int32_t whole;      // whole spacings, towards zero, with the increment's sign
  int32_t direction;  // of the increment: +1 or -1
  float fraction;     // what remains, without sign, in [0, 1)
};

// The increment in spacings. Beyond the size of the lattice it makes no difference how far.
QT_FN Split split(const Spec &spec, float increment) {
  float reach = float(spec.size);
  float x = minimum(increment / spec.spacing, reach);
  x = -minimum(-x, reach);
  int32_t whole = int32_t(x);
  return Split{whole, x < 0.0f ? -1 : 1, absolute(x - float(whole))};
}

// The next index. A NaN increment does not move the weight.
template <class Rule>
QT_FN int32_t step(const Spec &spec, int32_t index, float increment, uint32_t word) {
  Split s = split(spec, increment);
  int32_t more = int32_t(below(word, Rule::probability(spec, index, s)));
  int32_t moves = s.whole + (s.direction & -more);
  int32_t next = index + (increment == increment ? moves : 0);
  int32_t last = spec.size - 1;
  next = next > 0 ? next : 0;
  return next < last ? next : last;
}

}  // namespace qt
