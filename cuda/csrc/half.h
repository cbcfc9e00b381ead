// float16 (IEEE binary16) by its bits: widened exactly, rounded to nearest with ties to even.
#pragma once

#include "core.h"

namespace qt {

QT_FN float widen_half(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000u) << 16, rest = half & 0x7fffu;
  // Normal numbers, infinities and NaN: move the exponent; below 2^-14 subtract the leading one.
  const uint32_t normal = (rest << 13) + (rest >= 0x7c00u ? 0x70000000u : 0x38000000u);
  const float small = real((rest << 13) + 0x38800000u) - real(0x38800000u);
  return real(sign | (rest >= 0x0400u ? normal : bits(small)));
}

QT_FN uint16_t nearest_half(float x) {
  const uint32_t b = bits(x), sign = b >> 16 & 0x8000u, rest = b & 0x7fffffffu;
  const uint32_t rounded = rest + 0x0fffu + (rest >> 13 & 1u) - 0x38000000u;
  // Below 2^-14 adding 1/2 puts the last place of a half at the last place of a float.
  const uint32_t small = bits(real(rest) + 0.5f) - 0x3f000000u;
  uint32_t half = rest < 0x38800000u ? small : rounded >> 13;
  half = rest >= 0x47800000u ? 0x7c00u : half;  // from 65520 on the sum is infinity itself
  half = rest > 0x7f800000u ? 0x7e00u : half;
  return uint16_t(sign | half);
}

}  // namespace qt
