// Base optimisers for one weight: gradient in, increment out. See qtheory/optimisers.py for the
// equations; every operation is one float32 rounding, in the order written.
#pragma once

#include "core.h"

namespace qt {

// The numbers of one iteration, in the order of qtheory.optimisers.Scalars.
struct Scalars {
  float learning_rate, first_decay, first_gain, second_decay, second_gain, second_scale, epsilon;
};

struct given {  // the "gradient" is the increment itself
  static constexpr int moments = 0;
  static QT_FN float increment(const Scalars &, float g, float &, float &) { return g; }
};

struct sgd {
  static constexpr int moments = 0;
  static QT_FN float increment(const Scalars &s, float g, float &, float &) {
    return -(s.learning_rate * g);
  }
};

struct momentum {
  static constexpr int moments = 1;
  static QT_FN float increment(const Scalars &s, float g, float &first, float &) {
    first = s.first_decay * first + g;
    return -(s.learning_rate * first);
  }
};

struct adam {
  static constexpr int moments = 2;
  static QT_FN float increment(const Scalars &s, float g, float &first, float &second) {
    first = s.first_decay * first + s.first_gain * g;
    second = s.second_decay * second + s.second_gain * (g * g);
    return -((s.learning_rate * first) / (square_root(second) * s.second_scale + s.epsilon));
  }
};

}  // namespace qt

// The only list of base optimisers. An optimiser's number is its place here.
#define QT_OPTIMISERS_OF(X, rule) X(rule, given) X(rule, sgd) X(rule, momentum) X(rule, adam)
