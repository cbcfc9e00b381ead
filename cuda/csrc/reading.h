// One latent of a reader: noise, its distribution, ends of windows, units. Formulas are those of
// qtheory/algorithms/reader.py and qcuda/nn/stairs.py; all is computed in float32.
#pragma once

#include "stair.h"

namespace qt {

// As in qcuda/kernels/readings.py.
enum Shown : int32_t { SHOWN_HARD = 0, SHOWN_RANDOM = 1, SHOWN_MODE = 2, SHOWN_EXPECTATION = 3 };
enum Scale : int32_t {
  SCALE_ONE = 0, SCALE_MEAN = 1, SCALE_LARGEST = 2, SCALE_POWER = 3, SCALE_STEP = 4,
  SCALE_SURVIVORS = 5, SCALE_SIDES = 6, SCALE_RANK = 7, SCALE_THRESHOLD = 8
};
enum Window : int32_t { WINDOW_NONE = 0, WINDOW_CLOSED = 1, WINDOW_OPEN = 2, WINDOW_NOISE = 3 };
enum Factor : int32_t { FACTOR_STRAIGHT = 0, FACTOR_GAIN = 1, FACTOR_SIDES = 2 };
enum GainSlope : int32_t { GAIN_SLOPE_NONE = 0, GAIN_SLOPE_EXACT = 1, GAIN_SLOPE_PRINTED = 2 };

// Sizes, in units of a learned threshold, whose latents it feels.
constexpr float NEAR_LEAST = 0.5f, NEAR_END = 1.5f;

// A row of data, the same for all latents of a launch.
struct Reading {
  int32_t steps;       // thresholds, 1 .. MOST_STEPS
  int32_t shown, unit, gain, factor, gain_slope;
  int32_t steadied;    // the slope of a step over sqrt(n q), q the highest level
  int32_t noise;       // before the stair: a number of QT_NOISES, of no meaning for a hard pass
  int32_t window, window_noise;
  double scale, window_scale, low, high;  // ends of a window in units of the unit
  double zeros;                           // the share of latents up to the unit of a rank
  double threshold[MOST_STEPS];
  double level[MOST_STEPS + 1];
  uint8_t up[MOST_STEPS];  // whether a threshold belongs to its upper level
};
static_assert(sizeof(Reading) == 88 + 17 * MOST_STEPS, "as in qcuda/kernels/abi.py");

// Noises of scale 1: F(a) in 0 .. 1, and the density.
struct UniformNoise {
  static QT_FN float cumulative(float a) {
    const float c = 0.5f * (1.0f + a), least = c > 0.0f ? c : 0.0f;
    return least < 1.0f ? least : 1.0f;
  }
  static QT_FN float density(float a) { return (a >= -1.0f) & (a < 1.0f) ? 0.5f : 0.0f; }
};

struct TriangularNoise {
  static QT_FN float density(float a) {
    const float reach = 1.0f - absolute(a);
    return reach > 0.0f ? reach : 0.0f;
  }
  static QT_FN float cumulative(float a) {
    const float reach = density(a), outer = 0.5f * (reach * reach);
    return a < 0.0f ? outer : 1.0f - outer;
  }
};

// exp(-(y + rest)) for y in 0 .. 32 and a rest that is small beside y: 2^-n exp(s), |s| <= 0.348, by
// a minimax fit with a relative error of 2^-28 in exact arithmetic. Adding 3 2^22 rounds to n.
QT_FN float exp_of_both(float y, float rest) {
  const float rounded = y * 1.4426950408889634f + 0x1.8p23f, n = rounded - 0x1.8p23f;
  const float s = (n * 1.428606765330187e-06f - rest) - (y - n * 0.693145751953125f);
  float p = 0.0013843267224729061f;
  p = p * s + 0.008374487981200218f;
  p = p * s + 0.04166802391409874f;
  p = p * s + 0.1666642725467682f;
  p = p * s + 0.4999999403953552f;
  p = p * s + 1.0f;
  p = p * s + 1.0f;
  return p * real((127u - (bits(rounded) & 63u)) << 23);
}

// exp(-y^2 / 2) for y >= 0: the square is taken in two parts, the first of which is exact, so that
// the error stays a few roundings where y is large. Beyond y = 8 it is that of 8.
QT_FN float exp_of_half_square(float y) {
  y = minimum(y, 8.0f);
  const float upper = real(bits(y) & 0xfffff000u), rest = y - upper;
  return exp_of_both(0.5f * (upper * upper), 0.5f * (rest * (y + upper)));
}

struct NormalNoise {
  static QT_FN float density(float a) { return exp_of_half_square(absolute(a)) * 0.3989422804014327f; }

  // exp(-y^2 / 2) P(y) / Q(y) outside |y|; in exact arithmetic the quotient has a relative error of
  // 2^-28 on 0 .. 9, by a minimax fit.
  static QT_FN float cumulative(float a) {
    const float y = minimum(absolute(a), 8.0f);
    float p = 0.0035578823522272487f;
    p = p * y + 0.03678251550586148f;
    p = p * y + 0.17164698157100658f;
    p = p * y + 0.4223502652788063f;
    p = p * y + 0.5f;
    float q = 0.008917963853493908f;
    q = q * y + 0.09221388584241824f;
    q = q * y + 0.43891029587136565f;
    q = q * y + 1.153885543643679f;
    q = q * y + 1.6425852373481071f;
    q = q * y + 1.0f;
    const float outer = exp_of_half_square(y) * (p / q);
    return a < 0.0f ? outer : 1.0f - outer;
  }
};

struct LogisticNoise {
  static QT_FN float cumulative(float a) {
    const float e = exp_of_both(minimum(absolute(a), 32.0f), 0.0f);
    return (a < 0.0f ? e : 1.0f) / (1.0f + e);
  }
  static QT_FN float density(float a) {
    const float e = exp_of_both(minimum(absolute(a), 32.0f), 0.0f), sum = 1.0f + e;
    return e / (sum * sum);
  }
};

#define QT_NOISES(f) f(UniformNoise) f(TriangularNoise) f(NormalNoise) f(LogisticNoise)

// The next floats above and below, of anything but NaN: x > t is x >= above(t). Beyond an infinity
// there is NaN, which nothing reaches.
QT_FN float above(float t) {
  const uint32_t b = bits(t);
  return real(t == 0.0f ? 1u : t > 0.0f ? b + 1u : t < 0.0f ? b - 1u : b);
}
QT_FN float below(float t) { return -above(-t); }

// The least x that passes a threshold, in weight units.
QT_FN float least_beyond(bool up, float cut) { return up ? cut : above(cut); }

// The power of two p with p <= 4/3 of a size, so that the size is below 3/2 p; 0 of 0 and of NaN.
QT_FN float power_of_two(float size) {
  const bool small = size < 0x1p-126f;
  const uint32_t b = bits(small ? size * 0x1p24f : size);
  const float power = real((b & 0x7f800000u) + ((b & 0x00400000u) << 1));
  return size > 0.0f ? (small ? power * 0x1p-24f : power) : 0.0f;
}

}  // namespace qt
