// One element of a stair as an activation, and the slope that stands for its derivative. Formulas:
// qcuda/nn/stairs.py and qreference/stairs.py.
//
// A stair given for x >= 0 alone is folded: it is read at u = |x| and its level gets the sign of x;
// any other is read at u = x. Half precision is widened to float32 and rounded once at the end;
// float64 is computed in float64.
#pragma once

#include "half.h"
#include "storage.h"

namespace qt {

constexpr int32_t MOST_STEPS = 128;

// What all elements of a launch share.
struct Stair {
  int32_t steps;       // thresholds, 1 .. MOST_STEPS
  int32_t folded;      // given for x >= 0 alone; its lowest level is 0
  int32_t up;          // a threshold belongs to its upper level
  int32_t triangular;  // the window, else rectangular
  double lowest;
  double threshold[MOST_STEPS];
  double jump[MOST_STEPS];
};
static_assert(sizeof(Stair) == 24 + 16 * MOST_STEPS, "as in qcuda/kernels/abi.py");

// How numbers are stored, and the type that computes with them.
struct AsFloat32 {
  using Number = float;
  using Stored = float;
  static QT_FN float load(float x) { return x; }
  static QT_FN float store(float x) { return x; }
};
struct AsBFloat16 {
  using Number = float;
  using Stored = uint16_t;
  static constexpr uint16_t INFINITE = 0x7f80;
  static QT_FN float load(uint16_t x) { return widen(x); }
  static QT_FN uint16_t store(float x) {
    const uint32_t b = bits(x);
    return uint16_t((b & 0x7fffffffu) > 0x7f800000u ? quiet(b >> 16) : nearest_bfloat16(b));
  }
  // A NaN as it is stored, from the upper half of its float32.
  static QT_FN uint32_t quiet(uint32_t upper) { return upper | 0x0040u; }
};
struct AsFloat16 {
  using Number = float;
  using Stored = uint16_t;
  static constexpr uint16_t INFINITE = 0x7c00;
  static QT_FN float load(uint16_t x) { return widen_half(x); }
  static QT_FN uint16_t store(float x) { return nearest_half(x); }
  static QT_FN uint32_t quiet(uint32_t upper) { return (upper & 0x8000u) | 0x7e00u; }
};
struct AsFloat64 {
  using Number = double;
  using Stored = double;
  static QT_FN double load(double x) { return x; }
  static QT_FN double store(double x) { return x; }
};

QT_FN double absolute(double x) { return x < 0.0 ? -x : x == 0.0 ? 0.0 : x; }

// Where a stair is read.
template <class F>
QT_FN F fold(int32_t folded, F x) {
  return folded ? absolute(x) : x;
}

template <class F>
QT_FN bool passes(int32_t up, F u, F threshold) {
  return up ? u >= threshold : u > threshold;
}

// Whether the rectangular window around a threshold, closed at both ends, is open at u.
template <class F>
QT_FN bool within(F u, F threshold, F half_width) {
  return absolute(u - threshold) <= half_width;
}

// What is handed on: the level with the sign of x if folded, 0 at 0; NaN of NaN.
template <class F>
QT_FN F finish(int32_t folded, F x, F level) {
  const F sided = folded ? (x < F(0) ? -level : x == F(0) ? F(0) : level) : level;
  return x == x ? sided : x;
}

// Height of a rectangular window, or of the peak of a triangular one.
template <class F>
QT_FN F height(const Stair &stair, int32_t step, double half_width) {
  return F(stair.jump[step] / (stair.triangular ? half_width : 2 * half_width));
}

// A window's part of the slope at u; `peak` is its height.
template <class F>
QT_FN F window(int32_t triangular, F u, F threshold, F half_width, F peak) {
  const F distance = absolute(u - threshold);
  if (!triangular) return distance <= half_width ? peak : F(0);
  const F reach = F(1) - distance / half_width;
  return (reach < F(0) ? F(0) : reach) * peak;
}

}  // namespace qt
