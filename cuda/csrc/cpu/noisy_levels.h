// Levels behind noise, and slopes of windows that are noises, of runs. One or two thresholds are
// passed at once; more of them one after the other, through small buffers.
#pragma once

#include "../reading.h"
#include "../walker.h"
#include "groups.h"

namespace qt {

// A stair behind noise, in the type that computes.
struct Noisy {
  int32_t steps;
  float inverse;  // of the scale
  float threshold[MOST_STEPS], level[MOST_STEPS + 1], jump[MOST_STEPS];

  // jumps: those of the levels, times a factor.
  Noisy(const Reading &r, double scale, double factor) : steps(r.steps), inverse(float(1.0 / scale)) {
    for (int32_t k = 0; k < steps; ++k) {
      threshold[k] = float(r.threshold[k]);
      jump[k] = float((r.level[k + 1] - r.level[k]) * factor);
    }
    for (int32_t k = 0; k <= steps; ++k) level[k] = float(r.level[k]);
  }

  // Where a latent is, in units of the scale from a threshold.
  QT_FN float from(int32_t k, float x) const { return (x - threshold[k]) * inverse; }
};

template <class Noise>
struct Behind {
  template <int N>
  static void expected_of(const Noisy &s, const float *__restrict x, int64_t count, float *__restrict out) {
    for (int64_t i = 0; i < count; ++i) {
      float level = s.level[0];
#pragma GCC unroll 2
      for (int k = 0; k < N; ++k) level = level + s.jump[k] * Noise::cumulative(s.from(k, x[i]));
      out[i] = level;
    }
  }

  static void expected(const Noisy &s, const float *x, int64_t count, float *__restrict out) {
    if (s.steps == 1) return expected_of<1>(s, x, count, out);
    expected_of<2>(s, x, count, out);
    for (int32_t k = 2; k < s.steps; ++k)
      for (int64_t i = 0; i < count; ++i) out[i] = out[i] + s.jump[k] * Noise::cumulative(s.from(k, x[i]));
  }

  static void drawn(const Noisy &s, const float *x, int64_t count, const uint32_t *__restrict words,
                    float *__restrict out) {
    alignas(64) float chance[READ_RUN];
    for (int64_t i = 0; i < count; ++i) out[i] = s.level[0];
    for (int32_t k = 0; k < s.steps; ++k) {
      const float high = s.level[k + 1];
      for (int64_t i = 0; i < count; ++i) chance[i] = Noise::cumulative(s.from(k, x[i]));
      for (int64_t i = 0; i < count; ++i) out[i] = below(words[i], threshold(chance[i])) ? high : out[i];
    }
  }

  // The lowest of the likeliest levels.
  static void likeliest(const Noisy &s, const float *x, int64_t count, float *__restrict out) {
    alignas(64) float now[READ_RUN], best[READ_RUN];
    for (int64_t i = 0; i < count; ++i) {
      now[i] = Noise::cumulative(s.from(0, x[i]));
      best[i] = 1.0f - now[i];
      out[i] = s.level[0];
    }
    for (int32_t k = 0; k < s.steps; ++k) {
      const bool last = k + 1 == s.steps;
      const float high = s.level[k + 1];
      const auto choose = [&](int64_t i, float next) {
        const float p = now[i] - next;
        out[i] = p > best[i] ? high : out[i];
        best[i] = p > best[i] ? p : best[i];
        now[i] = next;
      };
      if (last)
        for (int64_t i = 0; i < count; ++i) choose(i, 0.0f);
      else
        for (int64_t i = 0; i < count; ++i) choose(i, Noise::cumulative(s.from(k + 1, x[i])));
    }
  }

  template <int N>
  static void slopes_of(const Noisy &s, const float *__restrict x, const float *__restrict up,
                        int64_t count, float *__restrict out) {
    for (int64_t i = 0; i < count; ++i) {
      float slope = 0.0f;
#pragma GCC unroll 2
      for (int k = 0; k < N; ++k) slope = slope + s.jump[k] * Noise::density(s.from(k, x[i]));
      out[i] = slope * up[i];
    }
  }

  // Slopes of the window times gradients.
  static void slopes(const Noisy &s, const float *x, const float *up, int64_t count,
                     float *__restrict out) {
    if (s.steps == 1) return slopes_of<1>(s, x, up, count, out);
    if (s.steps == 2) return slopes_of<2>(s, x, up, count, out);
    alignas(64) float slope[READ_RUN];
    for (int64_t i = 0; i < count; ++i) slope[i] = 0.0f;
    for (int32_t k = 0; k < s.steps; ++k)
      for (int64_t i = 0; i < count; ++i) slope[i] = slope[i] + s.jump[k] * Noise::density(s.from(k, x[i]));
    for (int64_t i = 0; i < count; ++i) out[i] = slope[i] * up[i];
  }
};

struct OfNoise {
  void (*expected)(const Noisy &, const float *, int64_t, float *);
  void (*drawn)(const Noisy &, const float *, int64_t, const uint32_t *, float *);
  void (*likeliest)(const Noisy &, const float *, int64_t, float *);
  void (*slopes)(const Noisy &, const float *, const float *, int64_t, float *);
};

#define QT_OF_NOISE(noise) \
  {Behind<noise>::expected, Behind<noise>::drawn, Behind<noise>::likeliest, Behind<noise>::slopes},
constexpr OfNoise BEHIND[] = {QT_NOISES(QT_OF_NOISE)};
#undef QT_OF_NOISE

}  // namespace qt
