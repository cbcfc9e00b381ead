// exp(-y) for y >= 0, by + - * alone, since libraries differ in its last bit.
#pragma once

#include "core.h"

namespace qt {

// 2^-n exp(-r) with y = n ln 2 + r, |r| <= 0.35. Beyond 32 it is that of 32, which is 0 for
// every threshold.
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

}  // namespace qt
