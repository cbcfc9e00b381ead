// Metropolis and heat bath [metropolis1953]: a neighbour is proposed, and accepted by its energy.
#pragma once

#include "../walker.h"

namespace qt {

// exp(-y) for y >= 0: 2^-n exp(-r) with y = n ln 2 + r, |r| <= 0.35, by + - * alone. Beyond 32 it is
// that of 32, which is 0 for every threshold.
QT_FN float exp_of_minus(float y) {
  y = minimum(y, 32.0f);
  int32_t n = int32_t(y * 1.4426950408889634f + 0.5f);
  float r = (y - float(n) * 0.693145751953125f) - float(n) * 1.428606765330187e-06f;
  float p = 1.0f - r * 0.14285714285714285f;
  p = 1.0f - r * 0.16666666666666666f * p;
  p = 1.0f - r * 0.2f * p;
  p = 1.0f - r * 0.25f * p;
  p = 1.0f - r * 0.3333333333333333f * p;
  p = 1.0f - r * 0.5f * p;
  p = 1.0f - r * p;
  return p * real(uint32_t(127 - n) << 23);
}

struct metropolis {
  static constexpr int resident = 2;  // blocks on a multiprocessor, without spills
  static QT_FN int destinations(const Spec &) { return 3; }

  template <class AnySpec>
  static QT_FN Neighbours outcomes(const AnySpec &spec, int32_t index, float increment) {
    float temperature = spec.parameter[0], proposal = spec.parameter[1];
    bool heat_bath = spec.parameter[2] != 0.0f;
    float x = spacings(spec, increment);
    float unlikely = exp_of_minus(absolute(x) / temperature);
    float likely = 1.0f;
    likely = heat_bath ? 1.0f / (1.0f + unlikely) : likely;
    unlikely = heat_bath ? unlikely / (1.0f + unlikely) : unlikely;
    float half = 0.5f * proposal;
    return neighbours(index, half * (x > 0.0f ? unlikely : likely), half * (x < 0.0f ? unlikely : likely));
  }
};

}  // namespace qt
