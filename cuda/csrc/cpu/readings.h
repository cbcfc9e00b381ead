// Readers: latents to what is seen, and gradients back, run by run. A run fits the first-level
// cache; passes over thresholds go through small buffers there, so that no table of probabilities
// is written.
#pragma once

#include "../reading.h"
#include "../walker.h"
#include "groups.h"
#include "philox_fill.h"

namespace qt {

// Where the words of a random reading are: in memory, or drawn for elements 0, 1, ...
struct ReadWords {
  const int64_t *words;      // below 2^32, or null
  const int64_t *iteration;  // null if there are words, or none are needed
  uint64_t seed;
  uint32_t tensor;

  const uint32_t *fill(int64_t start, int64_t count, WordBuffer<READ_RUN> &buffer) const {
    if (!words)
      return buffer.fill(seed, uint32_t(*iteration), tensor, STREAM_READ, uint64_t(start), count);
    for (int64_t i = 0; i < count; ++i) buffer.storage[i] = uint32_t(words[start + i]);
    return buffer.storage;
  }
};

// Values that latents pick: value k + 1 from the cut k on, in weight units.
struct Picks {
  int32_t steps;
  float cut[MOST_STEPS], value[MOST_STEPS + 1];

  template <class Value>
  Picks(const Reading &reading, float unit, const Value &value_of) : steps(reading.steps) {
    for (int32_t k = 0; k < steps; ++k)
      cut[k] = least_beyond(reading.up[k], float(reading.threshold[k]) * unit);
    for (int32_t k = 0; k <= steps; ++k) value[k] = value_of(float(reading.level[k]));
  }

  template <int N>
  void pick_of(const float *__restrict x, int64_t count, float *__restrict out) const {
    for (int64_t i = 0; i < count; ++i) {
      float v = value[0];
      for (int k = 0; k < N; ++k) v = x[i] >= cut[k] ? value[k + 1] : v;
      out[i] = v;
    }
  }

  void pick(const float *__restrict x, int64_t count, float *__restrict out) const {
    if (steps == 1) return pick_of<1>(x, count, out);
    if (steps == 2) return pick_of<2>(x, count, out);
    if (steps == 3) return pick_of<3>(x, count, out);
    pick_of<3>(x, count, out);
    for (int32_t k = 3; k < steps; ++k) {
      const float at = cut[k], v = value[k + 1];
      for (int64_t i = 0; i < count; ++i) out[i] = x[i] >= at ? v : out[i];
    }
  }
};

inline void hand_nan_on(const float *__restrict x, int64_t count, float *__restrict out) {
  for (int64_t i = 0; i < count; ++i) out[i] = x[i] == x[i] ? out[i] : x[i];
}

using OfRun = void (*)(const float *, int64_t, float, float, float *);

// F((x - t) / s) of a run, or the density.
template <class Noise>
void chances(const float *__restrict x, int64_t count, float t, float s, float *__restrict out) {
  for (int64_t i = 0; i < count; ++i) out[i] = Noise::cumulative((x[i] - t) / s);
}
template <class Noise>
void densities(const float *__restrict x, int64_t count, float t, float s, float *__restrict out) {
  for (int64_t i = 0; i < count; ++i) out[i] = Noise::density((x[i] - t) / s);
}

#define QT_CHANCES(noise) chances<noise>,
#define QT_DENSITIES(noise) densities<noise>,
constexpr OfRun CHANCES[] = {QT_NOISES(QT_CHANCES)}, DENSITIES[] = {QT_NOISES(QT_DENSITIES)};
#undef QT_CHANCES
#undef QT_DENSITIES

// Levels of a run behind noise.
inline void expected(const Reading &r, const float *x, int64_t count, float *__restrict level) {
  alignas(64) float chance[READ_RUN];
  for (int64_t i = 0; i < count; ++i) level[i] = float(r.level[0]);
  for (int32_t k = 0; k < r.steps; ++k) {
    CHANCES[r.noise](x, count, float(r.threshold[k]), float(r.scale), chance);
    const float jump = float(r.level[k + 1] - r.level[k]);
    for (int64_t i = 0; i < count; ++i) level[i] = level[i] + jump * chance[i];
  }
}

inline void drawn(const Reading &r, const float *x, int64_t count, const uint32_t *__restrict words,
                  float *__restrict level) {
  alignas(64) float chance[READ_RUN];
  for (int64_t i = 0; i < count; ++i) level[i] = float(r.level[0]);
  for (int32_t k = 0; k < r.steps; ++k) {
    CHANCES[r.noise](x, count, float(r.threshold[k]), float(r.scale), chance);
    const float high = float(r.level[k + 1]);
    for (int64_t i = 0; i < count; ++i) level[i] = below(words[i], threshold(chance[i])) ? high : level[i];
  }
}

// The lowest of the likeliest levels.
inline void likeliest(const Reading &r, const float *x, int64_t count, float *__restrict level) {
  alignas(64) float now[READ_RUN], next[READ_RUN], best[READ_RUN];
  CHANCES[r.noise](x, count, float(r.threshold[0]), float(r.scale), now);
  for (int64_t i = 0; i < count; ++i) level[i] = float(r.level[0]), best[i] = 1.0f - now[i];
  for (int32_t k = 0; k < r.steps; ++k) {
    if (k + 1 < r.steps)
      CHANCES[r.noise](x, count, float(r.threshold[k + 1]), float(r.scale), next);
    else
      for (int64_t i = 0; i < count; ++i) next[i] = 0.0f;
    const float high = float(r.level[k + 1]);
    for (int64_t i = 0; i < count; ++i) {
      const float p = now[i] - next[i];
      level[i] = p > best[i] ? high : level[i];
      best[i] = p > best[i] ? p : best[i];
      now[i] = next[i];
    }
  }
}

// The unit, or the gain, of a group: learned, or kept once it is measured.
inline float scale_of(int32_t which, float one, const float *learned, int64_t group) {
  if (which == SCALE_ONE) return 1.0f;
  return which == SCALE_STEP ? learned[group] : one;
}

// Statistics, then what is seen. Stage 0 has sizes, stage 1 survivors.
template <class As>
struct ReadForward {
  using Stored = typename As::Stored;
  const Reading &r;
  const Stored *x;
  Stored *out;
  float *unit, *gain;  // of each group, written
  const float *positive, *negative;  // learned: a step or two sides
  ReadWords words;
  int64_t row;
  int first, last;
  static constexpr bool apart = true;

  ReadForward(const Reading &reading, const void *latent, void *seen, float *kept, int64_t groups,
              int64_t of_group, const float *one, const float *other, const ReadWords &drawn_words)
      : r(reading), x((const Stored *)latent), out((Stored *)seen), unit(kept), gain(kept + groups),
        positive(one), negative(other), words(drawn_words), row(of_group) {
    const bool sizes = r.gain == SCALE_MEAN || (r.unit != SCALE_ONE && r.unit != SCALE_STEP);
    last = r.gain == SCALE_SURVIVORS ? 2 : 1;
    first = sizes ? 0 : 1;
    for (int64_t g = 0; g < groups; ++g) {
      unit[g] = scale_of(r.unit, 1.0f, positive, g);
      gain[g] = r.gain == SCALE_STEP ? unit[g] : 1.0f;
    }
  }

  ReadSums measure(int stage, int64_t g, int64_t start, int64_t count) const {
    ReadSums sums;
    LaneSum sum;
    const auto pick = Picks(r, unit[g], [](float level) { return level == 0.0f ? 0.0f : 1.0f; });
    for_runs_of(g * row + start, count, [&](int64_t at, int64_t length) {
      alignas(64) float wide[READ_RUN], size[READ_RUN], some[READ_RUN];
      const float *__restrict from = widened_run(As{}, x + at, length, wide);
      for (int64_t i = 0; i < length; ++i) size[i] = absolute(from[i]);
      if (stage == 1) {
        pick.pick(from, length, some);
        int32_t survivors = 0;
        for (int64_t i = 0; i < length; ++i) {
          survivors += some[i] != 0.0f;
          size[i] = some[i] != 0.0f ? size[i] : 0.0f;
        }
        sums.count += survivors;
      } else {
        int32_t top = int32_t(sums.largest);
        for (int64_t i = 0; i < length; ++i) {
          const int32_t b = int32_t(bits(size[i]));
          top = top > b ? top : b;
        }
        sums.largest = uint32_t(top);
      }
      sum.add(size, length);
    });
    sums.first = sum.finish();
    return sums;
  }

  void settle(int stage, int64_t g, const ReadSums &sums) const {
    if (stage == 1) {
      gain[g] = float(sums.first / double(sums.count > 0 ? sums.count : 1));
      return;
    }
    const float mean = float(sums.first / double(row)), top = real(sums.largest);
    if (r.unit == SCALE_MEAN) unit[g] = mean;
    if (r.unit == SCALE_LARGEST) unit[g] = top;
    if (r.unit == SCALE_POWER) unit[g] = power_of_two(top);
    gain[g] = r.gain == SCALE_MEAN ? mean : unit[g];
  }

  void write(int64_t g, int64_t start, int64_t count) const {
    const float above_0 = r.gain == SCALE_SIDES ? positive[g] : gain[g];
    const float below_0 = r.gain == SCALE_SIDES ? negative[g] : gain[g];
    const bool plain = r.gain == SCALE_ONE;
    const Picks picks(r, unit[g], [&](float level) {
      return plain ? level : (level > 0.0f ? above_0 : below_0) * level;
    });
    for_runs_of(g * row + start, count, [&](int64_t at, int64_t length) {
      alignas(64) float wide[READ_RUN], buffer[READ_RUN];
      const float *from = widened_run(As{}, x + at, length, wide);
      float *to = room_for_run(As{}, out + at, buffer);
      if (r.shown == SHOWN_HARD) picks.pick(from, length, to);
      if (r.shown == SHOWN_EXPECTATION) expected(r, from, length, to);
      if (r.shown == SHOWN_MODE) likeliest(r, from, length, to);
      if (r.shown == SHOWN_RANDOM) {
        WordBuffer<READ_RUN> storage;
        drawn(r, from, length, words.fill(at, length, storage), to);
      }
      hand_nan_on(from, length, to);
      round_run(As{}, to, length, out + at);
    });
  }
};

// Gradients: sums over groups of what is learned, and of an exact gain; then those of the latents.
template <class As>
struct ReadBackward {
  using Stored = typename As::Stored;
  const Reading &r;
  const Stored *g, *x;
  Stored *out;
  const float *unit, *gain;  // as the forward pass has left them
  const float *positive, *negative;
  float *slopes;   // of what is learned: those of the groups, once or twice
  double *shared;  // of each group, of an exact gain
  int64_t groups, row;
  int first, last;
  bool apart;  // whether what is written needs the sums

  ReadSums measure(int, int64_t group, int64_t start, int64_t count) const {
    const float a = unit[group];
    const Picks picks(r, a, [](float level) { return level; });
    const auto ends = window(a);
    LaneSum one, other;
    for_runs_of(group * row + start, count, [&](int64_t at, int64_t length) {
      alignas(64) float wide[READ_RUN], wider[READ_RUN], level[READ_RUN], part[READ_RUN];
      const float *__restrict from = widened_run(As{}, x + at, length, wide);
      const float *__restrict up = widened_run(As{}, g + at, length, wider);
      picks.pick(from, length, level);
      if (r.gain == SCALE_STEP)
        for (int64_t i = 0; i < length; ++i) {
          const float position = ends.holds(from[i]) ? from[i] / a : 0.0f;
          part[i] = up[i] * (level[i] - position);
        }
      else if (r.gain == SCALE_SIDES)
        for (int64_t i = 0; i < length; ++i) part[i] = level[i] > 0.0f ? up[i] * level[i] : 0.0f;
      else
        for (int64_t i = 0; i < length; ++i) part[i] = up[i] * level[i];
      one.add(part, length);
      if (r.gain != SCALE_SIDES) return;
      for (int64_t i = 0; i < length; ++i) part[i] = level[i] < 0.0f ? up[i] * level[i] : 0.0f;
      other.add(part, length);
    });
    ReadSums sums;
    sums.first = one.finish(), sums.second = other.finish();
    if (!apart) write(group, start, count);
    return sums;
  }

  void settle(int, int64_t group, const ReadSums &sums) const {
    if (r.gain == SCALE_SIDES) slopes[group] = float(sums.first), slopes[groups + group] = float(sums.second);
    if (r.gain == SCALE_STEP)
      slopes[group] = float(sums.first / (r.steadied ? square_root(double(row > 0 ? row : 1) * r.level[r.steps]) : 1.0));
    if (shared) shared[group] = sums.first;
  }

  struct Ends {
    float low, high;
    QT_FN bool holds(float x) const { return (x >= low) & (x <= high); }
  };

  Ends window(float a) const {
    const float low = float(r.low) * a, high = float(r.high) * a;
    if (r.window == WINDOW_OPEN) return {above(low), below(high)};
    const float infinity = real(0x7f800000u);
    return r.window == WINDOW_CLOSED ? Ends{low, high} : Ends{-infinity, infinity};
  }

  // The window times the gradient.
  void within(const float *__restrict from, const float *__restrict up, int64_t length, float a,
              float *__restrict to) const {
    if (r.window == WINDOW_NONE) {
      for (int64_t i = 0; i < length; ++i) to[i] = up[i];
    } else if (r.window != WINDOW_NOISE) {
      const auto ends = window(a);
      for (int64_t i = 0; i < length; ++i) to[i] = (ends.holds(from[i]) ? 1.0f : 0.0f) * up[i];
    } else {
      alignas(64) float slope[READ_RUN], density[READ_RUN];
      for (int64_t i = 0; i < length; ++i) slope[i] = 0.0f;
      for (int32_t k = 0; k < r.steps; ++k) {
        DENSITIES[r.window_noise](from, length, float(r.threshold[k]), float(r.window_scale), density);
        const float peak = float((r.level[k + 1] - r.level[k]) / r.window_scale);
        for (int64_t i = 0; i < length; ++i) slope[i] = slope[i] + peak * density[i];
      }
      for (int64_t i = 0; i < length; ++i) to[i] = slope[i] * up[i];
    }
  }

  void write(int64_t group, int64_t start, int64_t count) const {
    const float a = unit[group], b = gain[group], n = float(row);
    const bool sides = r.gain == SCALE_SIDES && r.factor != FACTOR_STRAIGHT;
    const bool all = r.factor == FACTOR_GAIN;
    const Picks factors(r, a, [&](float level) {
      const float own = r.gain == SCALE_SIDES ? (level > 0.0f ? positive : negative)[group] : b;
      return all || level != 0.0f ? own : 1.0f;
    });
    const bool picked = sides || (r.factor == FACTOR_SIDES && r.gain != SCALE_ONE);
    const float share = shared ? float(shared[group]) / n : 0.0f;
    for_runs_of(group * row + start, count, [&](int64_t at, int64_t length) {
      alignas(64) float wide[READ_RUN], wider[READ_RUN], buffer[READ_RUN], factor[READ_RUN];
      const float *__restrict from = widened_run(As{}, x + at, length, wide);
      const float *__restrict up = widened_run(As{}, g + at, length, wider);
      float *__restrict to = room_for_run(As{}, out + at, buffer);
      within(from, up, length, a, to);
      if (picked) {
        factors.pick(from, length, factor);
        for (int64_t i = 0; i < length; ++i) to[i] = to[i] * factor[i];
      } else if (all && r.gain != SCALE_ONE) {
        for (int64_t i = 0; i < length; ++i) to[i] = to[i] * b;
      }
      if (r.gain_slope == GAIN_SLOPE_PRINTED)
        for (int64_t i = 0; i < length; ++i) to[i] = to[i] + up[i] / n;
      if (shared)
        for (int64_t i = 0; i < length; ++i)
          to[i] = to[i] + (from[i] > 0.0f ? share : from[i] < 0.0f ? -share : share * from[i]);
      round_run(As{}, to, length, out + at);
    });
  }
};

// Calls body(As{}) for the type of latents; false for an unknown one, and for float64.
template <class Body>
bool for_latents(int32_t type, const Body &body) {
  switch (type) {
    case 0: return body(AsFloat32{}), true;
    case 1: return body(AsBFloat16{}), true;
    case 2: return body(AsFloat16{}), true;
  }
  return false;
}

}  // namespace qt

// What is seen of `groups` groups of `row` latents; the units and gains of the groups, 2 groups
// numbers, are kept. first, second: what is learned, or null. Returns 0, or 1 for an unknown type.
extern "C" __attribute__((visibility("default"))) int qt_reading(
    const qt::Reading *reading, int32_t type, const void *x, int64_t groups, int64_t row,
    const float *first, const float *second, const int64_t *words, const int64_t *iteration,
    uint64_t seed, uint32_t tensor, void *out, float *kept, int32_t threads) {
  return !qt::for_latents(type, [&](auto as) {
    const qt::ReadForward<decltype(as)> work(*reading, x, out, kept, groups, row, first, second,
                                             {words, iteration, seed, tensor});
    qt::for_groups(work, groups, row, threads);
  });
}

// Gradients of latents and of what is learned, given that of what is seen. Returns as qt_reading.
extern "C" __attribute__((visibility("default"))) int qt_reading_slope(
    const qt::Reading *reading, int32_t type, const void *gradient, const void *x, int64_t groups,
    int64_t row, const float *first, const float *second, const float *kept, void *out, float *slopes,
    int32_t threads) {
  return !qt::for_latents(type, [&](auto as) {
    using As = decltype(as);
    using Stored = typename As::Stored;
    const bool exact = reading->gain_slope == qt::GAIN_SLOPE_EXACT;
    const bool learns = reading->gain == qt::SCALE_STEP || reading->gain == qt::SCALE_SIDES;
    std::vector<double> shared(exact ? size_t(groups) : 0);
    const qt::ReadBackward<As> work{
        *reading, (const Stored *)gradient, (const Stored *)x, (Stored *)out, kept, kept + groups,
        first, second, slopes, exact ? shared.data() : nullptr, groups, row, 0, exact || learns, !learns};
    qt::for_groups(work, groups, row, threads);
  });
}
