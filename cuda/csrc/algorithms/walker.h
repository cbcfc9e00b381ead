// What lattice walkers share: the whole spacings of an increment are certain, one level more is
// taken with a probability that the algorithm names, and the ends of the lattice stop everything.
#pragma once

#include "../core.h"

namespace qt {

struct Split {
  bool down;       // direction of the increment
  int32_t whole;   // whole spacings
  float fraction;  // what remains, in [0, 1)
};

// The increment in spacings. Beyond the size of the lattice it makes no difference how far.
QT_FN Split split(const Spec &spec, float increment) {
  float x = increment / spec.spacing;
  float distance = minimum(absolute(x), float(spec.size));
  int32_t whole = int32_t(distance);
  return Split{x < 0.0f, whole, distance - float(whole)};
}

// The next index. A NaN increment does not move the weight.
template <class Rule>
QT_FN int32_t step(const Spec &spec, int32_t index, float increment, uint32_t word) {
  Split s = split(spec, increment);
  int32_t moves = s.whole + int32_t(below(word, Rule::probability(spec, index, s)));
  moves = increment == increment ? moves : 0;
  int32_t next = index + (s.down ? -moves : moves);
  next = next < 0 ? 0 : next;
  return next < spec.size ? next : spec.size - 1;
}

}  // namespace qt
