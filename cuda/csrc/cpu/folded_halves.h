// The stair of most networks, folded with one threshold, on half precision: levels are three numbers
// of 16 bits and a slope of 1 keeps a gradient, so nothing is widened or rounded. Same bits as the
// general runs of stairs.h.
#pragma once

#include "numbers.h"

namespace qt {

// How many numbers >= 0, in the order of their bits and no NaN, come before the first of which
// `holds` is true; it is true of all behind it.
template <class As, class Holds>
uint32_t first_that(const Holds &holds) {
  uint32_t low = 0, high = As::INFINITE + 1;
  while (low < high) {
    const uint32_t middle = (low + high) / 2;
    if (holds(As::load(uint16_t(middle))))
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

// A folded stair with one threshold, at halves: u is the number without its sign.
template <class As>
struct FoldedHalves {
  uint16_t low, high;           // levels
  uint16_t passes, open, shut;  // the first u that passes; whose window is open; is shut again

  FoldedHalves(const Stair &stair, double half_width) {
    const float t = float(stair.threshold[0]), a = float(half_width);
    const float lowest = 0.0f + float(stair.lowest);
    low = As::store(lowest), high = As::store(lowest + float(stair.jump[0]));
    passes = uint16_t(first_that<As>([&](float u) { return qt::passes(stair.up, u, t); }));
    open = uint16_t(first_that<As>([&](float u) { return u - t >= -a; }));
    shut = uint16_t(first_that<As>([&](float u) { return u - t > a; }));
  }

  static bool suits(const Stair &stair) { return stair.folded && stair.steps == 1; }

  void levels(const uint16_t *__restrict x, int64_t count, uint16_t *__restrict z) const {
    const uint16_t low = this->low, high = this->high, passes = this->passes;
    for (int64_t i = 0; i < count; ++i) {
      const uint16_t u = x[i] & 0x7fffu, sign = x[i] & 0x8000u;
      const uint16_t sided = uint16_t((u >= passes ? high : low) ^ sign);
      const uint16_t level = u == 0 ? 0 : sided;
      z[i] = u > As::INFINITE ? uint16_t(As::quiet(x[i])) : level;
    }
  }

  // One a byte.
  void windows(const uint16_t *__restrict x, int64_t count, uint8_t *__restrict flags) const {
    const uint16_t open = this->open, width = uint16_t(shut - open);
    for (int64_t i = 0; i < count; ++i) flags[i] = uint16_t((x[i] & 0x7fffu) - open) < width;
  }

  // The levels at float32.
  void levels_at(const Stair &stair, const float *__restrict y, int64_t count,
                 uint16_t *__restrict z) const {
    const uint32_t low = this->low, high = this->high;
    const float t = float(stair.threshold[0]);
    const int32_t up = stair.up;
    for (int64_t i = 0; i < count; ++i) {
      const uint32_t b = bits(y[i]), size = b & 0x7fffffffu;
      const uint32_t sided = (qt::passes(up, real(size), t) ? high : low) ^ (b >> 16 & 0x8000u);
      const uint32_t level = size == 0 ? 0 : sided;
      z[i] = uint16_t(size > 0x7f800000u ? As::quiet(b >> 16) : level);
    }
  }
};

// Numbers times slopes of 1 where a window is open, and of 0 elsewhere.
template <class As>
void times_flags(const uint8_t *__restrict flags, const uint16_t *__restrict g, int64_t count,
                 uint16_t *__restrict out) {
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t u = g[i] & 0x7fffu, product = flags[i] ? g[i] : uint16_t(g[i] & 0x8000u);
    const uint16_t nan = uint16_t(As::quiet(u == As::INFINITE ? 0xffc0u : g[i]));
    out[i] = u > As::INFINITE || (u == As::INFINITE && !flags[i]) ? nan : product;
  }
}

}  // namespace qt
