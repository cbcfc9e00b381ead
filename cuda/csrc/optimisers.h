// Base optimisers for one weight: gradient in, increment out. See qtheory/optimisers.py for the
// equations; every operation is one float32 rounding, in the order written. A gradient that is not
// finite, or whose moments would not be, changes nothing: the increment is NaN.
//
// A base optimiser is a type with
//
//   moments                            how many numbers it keeps for each weight
//   scalars(numbers, iteration)        the numbers of an iteration
//   increment<Asked>(s, g, ...)        of a weight; moments are updated
//   limit(s, reach)                    with moments, or gradients where there are none, of at most
//                                      this magnitude, all answers of Each are yes, and, except
//                                      for Adam, increments are below `reach` in magnitude
#pragma once

#include "core.h"

namespace qt {

// The numbers of one iteration, in the order of qtheory.optimisers.Scalars.
struct Scalars {
  float learning_rate, first_decay, first_gain, second_decay, second_gain, second_scale, epsilon;
};

// A base optimiser's own numbers, as a user sets them.
struct Numbers {
  double learning_rate, first_decay, second_decay, epsilon;
};

// base^exponent by repeated squaring, as qtheory.optimisers.power.
QT_FN double power(double base, uint64_t exponent) {
  double result = 1.0;
  for (; exponent; exponent >>= 1, base *= base)
    if (exponent & 1) result *= base;
  return result;
}

// The largest moment that is kept: rounding to bfloat16 can not carry it to infinity.
constexpr float LARGEST_MOMENT = 0x1.fep127f;

// What each weight is asked. NaN is not at most anything.
struct Each {
  static QT_FN bool kept(float moment) { return absolute(moment) <= LARGEST_MOMENT; }
  static QT_FN bool finite(float gradient) { return absolute(gradient) <= 0x1.fffffep127f; }
};

// For weights of which it is known.
struct Known {
  static QT_FN bool kept(float) { return true; }
  static QT_FN bool finite(float) { return true; }
};

// Scalars with which limits hold.
QT_FN bool is_tame(const Scalars &s) { return absolute(s.learning_rate) <= 0x1p64f; }

// The limit of what is multiplied by the learning rate.
QT_FN float limit_of(const Scalars &s, float reach) {
  return minimum(0.5f * (reach / absolute(s.learning_rate)), LARGEST_MOMENT);
}

// An increment, or the NaN that moves nothing and is counted.
QT_FN float increment_if(bool possible, float increment) {
  return possible ? increment : real(NAN_BITS);
}

struct given {  // the "gradient" is the increment itself
  static constexpr int moments = 0;
  static QT_FN Scalars scalars(const Numbers &, uint64_t) { return Scalars{0, 0, 1, 0, 0, 0, 0}; }
  static QT_FN float limit(const Scalars &, float reach) { return 0.5f * reach; }
  template <class Asked = Each>
  static QT_FN float increment(const Scalars &, float g, float &, float &) {
    return g;
  }
};

struct sgd {
  static constexpr int moments = 0;
  static QT_FN Scalars scalars(const Numbers &n, uint64_t) {
    return Scalars{float(n.learning_rate), 0, 1, 0, 0, 0, 0};
  }
  static QT_FN float limit(const Scalars &s, float reach) { return limit_of(s, reach); }
  template <class Asked = Each>
  static QT_FN float increment(const Scalars &s, float g, float &, float &) {
    return increment_if(Asked::finite(g), -(s.learning_rate * g));
  }
};

struct momentum {
  static constexpr int moments = 1;
  static QT_FN Scalars scalars(const Numbers &n, uint64_t) {
    return Scalars{float(n.learning_rate), float(n.first_decay), 1, 0, 0, 0, 0};
  }
  static QT_FN float limit(const Scalars &s, float reach) { return limit_of(s, reach); }
  template <class Asked = Each>
  static QT_FN float increment(const Scalars &s, float g, float &first, float &) {
    const float b = s.first_decay * first + g;
    const bool possible = Asked::kept(b);
    first = possible ? b : first;
    return increment_if(possible, -(s.learning_rate * b));
  }
};

struct adam {
  static constexpr int moments = 2;
  static QT_FN Scalars scalars(const Numbers &n, uint64_t iteration) {
    return Scalars{float(n.learning_rate / (1.0 - power(n.first_decay, iteration))),
                   float(n.first_decay),
                   float(1.0 - n.first_decay),
                   float(n.second_decay),
                   float(1.0 - n.second_decay),
                   float(1.0 / square_root(1.0 - power(n.second_decay, iteration))),
                   float(n.epsilon)};
  }
  static QT_FN float limit(const Scalars &, float) { return LARGEST_MOMENT; }
  template <class Asked = Each>
  static QT_FN float increment(const Scalars &s, float g, float &first, float &second) {
    const float m = s.first_decay * first + s.first_gain * g;
    const float v = s.second_decay * second + s.second_gain * (g * g);
    const bool possible = Asked::kept(m) & Asked::kept(v);
    first = possible ? m : first;
    second = possible ? v : second;
    return increment_if(possible, -((s.learning_rate * m) / (square_root(v) * s.second_scale + s.epsilon)));
  }
};

// The gradient over its running rms, see squares.h: only its scalars are its own. Kernels take the
// normalised gradient for that of `sgd`, or of `momentum` where first_decay is not 0.
struct normalized {
  static QT_FN Scalars scalars(const Numbers &n, uint64_t iteration) {
    return Scalars{float(n.learning_rate),
                   float(n.first_decay),
                   float(square_root(1.0 - n.first_decay * n.first_decay)),
                   float(n.second_decay),
                   float(1.0 - n.second_decay),
                   float(1.0 / square_root(1.0 - power(n.second_decay, iteration))),
                   0};
  }
};

}  // namespace qt

// The only list of base optimisers: those without moments, with one, and with two. An optimiser's
// number is its place here.
#define QT_PLAIN_OPTIMISERS_OF(X, rule) X(rule, given) X(rule, sgd)
#define QT_ONE_MOMENT_OPTIMISERS_OF(X, rule) X(rule, momentum)
#define QT_TWO_MOMENT_OPTIMISERS_OF(X, rule) X(rule, adam)
#define QT_MOMENT_OPTIMISERS_OF(X, rule) \
  QT_ONE_MOMENT_OPTIMISERS_OF(X, rule) QT_TWO_MOMENT_OPTIMISERS_OF(X, rule)
#define QT_OPTIMISERS_OF(X, rule) QT_PLAIN_OPTIMISERS_OF(X, rule) QT_MOMENT_OPTIMISERS_OF(X, rule)
