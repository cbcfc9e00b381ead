// What lattice walkers share. A rule says where a weight may go, and the thresholds between these
// places; a random word picks the place in whose interval it falls, and the ends of the lattice
// stop everything. A rule is a type with
//
//   destinations(spec)                    how many places there are
//   outcomes(spec, index, increment)      an object with threshold(k) and place(k), the thresholds
//                                         not decreasing, and asked once each, from k = 0 on
//
// where spec is a Spec or, with fewer tests for each weight, a Tame one.
#pragma once

#include "core.h"
#include "tame.h"

namespace qt {

// A threshold on words, 0 .. 2^32, as two lanes of 32 bits, so that comparisons vectorise.
struct Threshold {
  uint32_t part;  // itself, where it is below 2^32
  bool certain;   // whether it is 2^32
};

// floor(p 2^32), or 2^32 from p = 1 on. What a GPU converts ends at 2^32 - 1 by itself.
QT_FN Threshold threshold(float p) {
#if defined(__CUDA_ARCH__)
  return Threshold{__float2uint_rz(p * 0x1p32f), p >= 1.0f};
#else
  return Threshold{uint32_t(minimum(p, 0x1.fffffep-1f) * 0x1p32f), p >= 1.0f};
#endif
}

// The same of a sum in double precision.
QT_FN Threshold threshold(double p) {
  return Threshold{uint32_t((p < 1.0 ? p : 0.0) * 0x1p32), p >= 1.0};
}

// 2^32 - floor(p 2^32) for p < 1: words from here on are those that an event of probability p takes.
QT_FN Threshold threshold_from_above(float p) {
  uint32_t part = uint32_t(p * 0x1p32f);
  return Threshold{0u - part, part == 0};
}

QT_FN bool below(uint32_t word, const Threshold &t) { return t.certain | (word < t.part); }

QT_FN uint64_t value(const Threshold &t) { return t.certain ? uint64_t{1} << 32 : t.part; }

struct Split {
  int32_t sign;    // of the increment: 0, or -1 where it is negative
  int32_t whole;   // whole spacings, without sign
  float fraction;  // what remains, without sign, in [0, 1)
};

// The increment in whole spacings and a rest.
template <class AnySpec>
QT_FN Split split(const AnySpec &spec, float increment) {
  float x = spacings(spec, increment);
  float distance = reached(spec, absolute(x));
  int32_t whole = int32_t(distance);
  return Split{sign(spec, x), whole, distance - float(whole)};
}

// n or, where the sign is -1, -n.
QT_FN int32_t signed_as(int32_t sign, int32_t n) {
#if defined(__CUDA_ARCH__)
  return n * (sign | 1);  // which is added to something: one instruction
#else
  return (n ^ sign) - sign;
#endif
}

// The whole spacings are certain; one level more is taken by words below a threshold.
struct Coin {
  Threshold more;
  int32_t far, near;

  QT_FN Threshold threshold(int) const { return more; }
  QT_FN int32_t place(int k) const { return k == 0 ? far : near; }
};

QT_FN Coin coin(int32_t index, const Split &s, float probability) {
  int32_t near = index + signed_as(s.sign, s.whole);
  return Coin{threshold(probability), near + (s.sign | 1), near};
}

// One level down, none, or one up; probabilities below 1, their sum at most 1.
struct Neighbours {
  Threshold down, stay;
  int32_t index;

  QT_FN Threshold threshold(int k) const { return k == 0 ? down : stay; }
  QT_FN int32_t place(int k) const { return index - 1 + k; }
};

QT_FN Neighbours neighbours(int32_t index, float down, float up) {
  return Neighbours{threshold(down), threshold_from_above(up), index};
}

// One level in the direction of x where |x| > threshold, else none, whatever the word.
QT_FN Neighbours one_level(int32_t index, float x, float threshold) {
  return Neighbours{Threshold{0, x < -threshold}, Threshold{0, x <= threshold}, index};
}

QT_FN int32_t stopped(const Spec &spec, int32_t place) {
  int32_t last = spec.size - 1;
  place = place > 0 ? place : 0;
  return place < last ? place : last;
}

// Whether a weight that moves begins its first moment anew.
template <class Rule>
constexpr bool forgets = false;

// Whether a place is picked by a function that is called, across which a GPU keeps few registers.
template <class Rule>
constexpr bool calls = false;

// The place that a word picks.
template <class Outcomes>
QT_FN int32_t picked(Outcomes &outcomes, int destinations, uint32_t word) {
  int32_t next = outcomes.place(0);
  for (int k = 1; k < destinations; ++k)
    next = below(word, outcomes.threshold(k - 1)) ? next : outcomes.place(k);
  return next;
}

// The same of a weight; a rule may have a way of its own.
template <class Rule>
struct Pick {
  template <class AnySpec>
  static QT_FN int32_t place(const AnySpec &spec, int32_t index, float increment, uint32_t word) {
    auto outcomes = Rule::outcomes(spec, index, increment);
    return picked(outcomes, Rule::destinations(spec), word);
  }
};

// On the CPU a rule may have loops of its own for some specs: the body is given the spec, in a type
// that says more of it.
template <class Rule>
struct Levels {
  template <class Body>
  static void with(const Spec &spec, const Body &body) {
    body(spec);
  }
};

// Whether every threshold of a rule is 0 or 2^32, so that no word decides and none need be drawn.
template <class Rule>
constexpr bool certain = false;

// The next index. A NaN increment does not move the weight.
template <class Rule, class AnySpec>
QT_FN int32_t step(const AnySpec &spec, int32_t index, float increment, uint32_t word) {
  int32_t next = Pick<Rule>::place(spec, index, increment, word);
  next = is_number(spec, increment) ? next : index;
  return stopped(spec, next);
}

// All thresholds and destinations of a weight: one threshold less than there are destinations.
template <class Rule>
QT_FN void tell_outcomes(const Spec &spec, int32_t index, float increment, uint64_t *thresholds,
                         int32_t *destinations) {
  auto outcomes = Rule::outcomes(spec, index, increment);
  const bool number = increment == increment;
  for (int k = 0; k < Rule::destinations(spec); ++k) {
    destinations[k] = number ? stopped(spec, outcomes.place(k)) : index;
    if (k > 0) thresholds[k - 1] = number ? value(outcomes.threshold(k - 1)) : 0;
  }
}

}  // namespace qt
