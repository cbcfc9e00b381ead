// Sums of squares of gradients, a part of a row at a time. The order is that of ../squares.h.
#pragma once

#include "../squares.h"
#include "../storage.h"
#include "sums.h"

namespace qt {

// The sum of squares of `count` <= SQUARE_PART numbers.
inline double sum_of_squares(const float *__restrict x, int64_t count) {
  constexpr int parts = SQUARE_LANES / WIDE;
  Doubles sums[parts] = {};
  int64_t i = 0;
  for (; i + SQUARE_LANES <= count; i += SQUARE_LANES)
    for (int k = 0; k < parts; ++k) {
      const Doubles wide = widened(x + i + k * WIDE);
      sums[k] += wide * wide;
    }
  double lane[SQUARE_LANES];
  for (int k = 0; k < parts; ++k) store_doubles(lane + k * WIDE, sums[k]);
  for (int l = 0; i < count; ++i, ++l) lane[l] += double(x[i]) * double(x[i]);
  for (int half = SQUARE_LANES / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) lane[l] += lane[l + half];
  return lane[0];
}

inline double sum_of_squares(const void *gradient, int32_t type, int64_t start, int64_t count) {
  if (type == REAL_FLOAT32) return sum_of_squares((const float *)gradient + start, count);
  alignas(64) float x[SQUARE_PART];
  const uint16_t *g = (const uint16_t *)gradient + start;
  for (int64_t i = 0; i < count; ++i) x[i] = widen(g[i]);
  return sum_of_squares(x, count);
}

}  // namespace qt
