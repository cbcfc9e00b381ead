// Readers: latents to what is seen, and gradients back, run by run. A run fits the first-level
// cache; passes over thresholds go through small buffers there, so that no table of probabilities
// is written.
#pragma once

#include "noisy_levels.h"
#include "philox_fill.h"
#include "picks.h"

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

// The unit, or the gain, of a group: learned, or kept once it is measured.
inline float scale_of(int32_t which, float one, const float *learned, int64_t group) {
  if (which == SCALE_ONE) return 1.0f;
  return which == SCALE_STEP || which == SCALE_THRESHOLD ? learned[group] : one;
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
    const bool sizes = r.gain == SCALE_MEAN || (r.unit >= SCALE_MEAN && r.unit <= SCALE_POWER);
    last = r.gain == SCALE_SURVIVORS ? 2 : 1;
    first = sizes ? 0 : 1;
    for (int64_t g = 0; g < groups; ++g) {
      unit[g] = scale_of(r.unit, 1.0f, positive, g);
      gain[g] = r.gain == SCALE_STEP ? unit[g] : 1.0f;
    }
  }

  // Sizes: their sum, or the largest.
  ReadSums sizes(int64_t start, int64_t count) const {
    const bool summed = r.unit == SCALE_MEAN || r.gain == SCALE_MEAN;
    ReadSums sums;
    LaneSum sum;
    for_runs_of(start, count, [&](int64_t at, int64_t length) {
      alignas(64) float wide[READ_RUN];
      const float *__restrict from = widened_run(As{}, x + at, length, wide);
      if (summed) sum.add_sizes(from, length);
      if (r.unit == SCALE_LARGEST || r.unit == SCALE_POWER) {
        int32_t top = int32_t(sums.largest);
        for (int64_t i = 0; i < length; ++i) {
          const int32_t b = int32_t(bits(absolute(from[i])));
          top = top > b ? top : b;
        }
        sums.largest = uint32_t(top);
      }
    });
    sums.first = sum.finish();
    return sums;
  }

  ReadSums measure(int stage, int64_t g, int64_t start, int64_t count) const {
    if (stage == 0) return sizes(g * row + start, count);
    ReadSums sums;
    LaneSum sum;
    const Picks picks(r, unit[g], [](float level) { return level; });
    for_runs_of(g * row + start, count, [&](int64_t at, int64_t length) {
      alignas(64) float wide[READ_RUN], level[READ_RUN], size[READ_RUN];
      const float *__restrict from = widened_run(As{}, x + at, length, wide);
      picks.each(from, length, level, [&](auto n) {
        int32_t survivors = 0;
        for (int64_t i = 0; i < length; ++i) {
          const bool survives = picks.at<n()>(from[i], level[i]) != 0.0f;
          survivors += survives;
          size[i] = survives ? absolute(from[i]) : 0.0f;
        }
        sums.count += survivors;
      });
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
    const Noisy noisy(r, r.scale, 1.0);
    const OfNoise &behind = BEHIND[r.noise];
    for_runs_of(g * row + start, count, [&](int64_t at, int64_t length) {
      alignas(64) float wide[READ_RUN], buffer[READ_RUN];
      const float *from = widened_run(As{}, x + at, length, wide);
      float *to = room_for_run(As{}, out + at, buffer);
      if (r.shown == SHOWN_HARD) picks.show(from, length, to);
      if (r.shown == SHOWN_EXPECTATION) behind.expected(noisy, from, length, to);
      if (r.shown == SHOWN_MODE) behind.likeliest(noisy, from, length, to);
      if (r.shown == SHOWN_RANDOM) {
        WordBuffer<READ_RUN> storage;
        behind.drawn(noisy, from, length, words.fill(at, length, storage), to);
      }
      if (r.shown != SHOWN_HARD) hand_nan_on(from, length, to);
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

  // The window as it is asked of a latent; without one it is open for NaN too.
  struct Ends {
    float low, high;
    bool open;
    QT_FN bool holds(float at) const { return open | ((at >= low) & (at <= high)); }
  };

  Ends ends(float a) const {
    const float low = float(r.low) * a, high = float(r.high) * a;
    if (r.window == WINDOW_OPEN) return {above(low), below(high), false};
    return {low, high, r.window == WINDOW_NONE};
  }

  // What a learned threshold feels of a part; gradients of the latents are those of what is seen.
  ReadSums felt(int64_t group, int64_t start, int64_t count) const {
    const float a = unit[group], gained = gain[group];
    LaneSum sum;
    for_runs_of(group * row + start, count, [&](int64_t at, int64_t length) {
      alignas(64) float wide[READ_RUN], wider[READ_RUN], part[READ_RUN], buffer[READ_RUN];
      const float *__restrict from = widened_run(As{}, x + at, length, wide);
      const float *__restrict up = widened_run(As{}, g + at, length, wider);
      float *__restrict to = room_for_run(As{}, out + at, buffer);
      for (int64_t i = 0; i < length; ++i) {
        const float u = from[i] / a, size = absolute(u);
        const uint32_t near = (size >= NEAR_LEAST) & (size < NEAR_END);
        part[i] = real(bits(up[i] * gained * u) & (0u - near));  // no branch
        to[i] = up[i];
      }
      sum.add(part, length);
      round_run(As{}, to, length, out + at);
    });
    ReadSums sums;
    sums.first = sum.finish();
    return sums;
  }

  // Sums of a part; with them what is written, unless that needs the sums.
  ReadSums measure(int, int64_t group, int64_t start, int64_t count) const {
    if (r.unit == SCALE_THRESHOLD) return felt(group, start, count);
    const float a = unit[group], inverse = 1.0f / a;
    const bool split = r.gain == SCALE_SIDES, straight = r.factor == FACTOR_STRAIGHT;
    const float p = split && !straight ? positive[group] : 1.0f;
    const float m = split && !straight ? negative[group] : 1.0f;
    const float at_0 = r.factor == FACTOR_GAIN ? m : 1.0f;
    const float factor = r.gain == SCALE_STEP && r.factor == FACTOR_GAIN ? a : 1.0f;
    const Picks picks(r, a, [](float level) { return level; });
    const Ends window = ends(a);
    LaneSum one, other;
    for_runs_of(group * row + start, count, [&](int64_t at, int64_t length) {
      alignas(64) float wide[READ_RUN], wider[READ_RUN], level[READ_RUN], part[READ_RUN];
      alignas(64) float second[READ_RUN], buffer[READ_RUN];
      const float *__restrict from = widened_run(As{}, x + at, length, wide);
      const float *__restrict up = widened_run(As{}, g + at, length, wider);
      float *__restrict to = room_for_run(As{}, out + at, buffer);
      picks.each(from, length, level, [&](auto n) {
        if (apart) {
          for (int64_t i = 0; i < length; ++i) part[i] = up[i] * picks.at<n()>(from[i], level[i]);
        } else if (split) {
          for (int64_t i = 0; i < length; ++i) {
            const float z = picks.at<n()>(from[i], level[i]), slope = up[i] * z;
            part[i] = z > 0.0f ? slope : 0.0f;
            second[i] = z < 0.0f ? slope : 0.0f;
            const float side = z > 0.0f ? p : z < 0.0f ? m : at_0;
            to[i] = (window.holds(from[i]) ? 1.0f : 0.0f) * up[i] * side;
          }
        } else {
          for (int64_t i = 0; i < length; ++i) {
            const bool inside = window.holds(from[i]);
            const float z = picks.at<n()>(from[i], level[i]);
            part[i] = up[i] * (z - (inside ? from[i] * inverse : 0.0f));
            to[i] = (inside ? 1.0f : 0.0f) * up[i] * factor;
          }
        }
      });
      one.add(part, length);
      if (apart) return;
      if (split) other.add(second, length);
      round_run(As{}, to, length, out + at);
    });
    ReadSums sums;
    sums.first = one.finish(), sums.second = other.finish();
    return sums;
  }

  void settle(int, int64_t group, const ReadSums &sums) const {
    if (r.gain == SCALE_SIDES) slopes[group] = float(sums.first), slopes[groups + group] = float(sums.second);
    const double size = double(row > 0 ? row : 1) * r.level[r.steps];
    if (r.gain == SCALE_STEP) slopes[group] = float(sums.first / (r.steadied ? square_root(size) : 1.0));
    if (r.unit == SCALE_THRESHOLD) slopes[group] = float(-sums.first / double(unit[group]));
    if (shared) shared[group] = sums.first;
  }

  // The window and the gain, and the gain's own slope.
  template <int SLOPE>
  void scaled(const float *__restrict from, const float *__restrict up, int64_t length,
              const Ends &window, float gained, float share, float *__restrict to) const {
    for (int64_t i = 0; i < length; ++i) {
      const float x = from[i];
      const float flat = (window.holds(x) ? 1.0f : 0.0f) * up[i] * gained;
      const float sided = x > 0.0f ? share : x < 0.0f ? -share : share * x;
      to[i] = SLOPE == GAIN_SLOPE_NONE ? flat : flat + (SLOPE == GAIN_SLOPE_PRINTED ? up[i] * share : sided);
    }
  }

  void write(int64_t group, int64_t start, int64_t count) const {
    const float a = unit[group], b = gain[group];
    const Ends window = ends(a);
    const bool picked = r.factor == FACTOR_SIDES && r.gain != SCALE_ONE;
    const float gained = r.factor == FACTOR_GAIN && r.gain != SCALE_ONE ? b : 1.0f;
    const float share = shared ? float(shared[group]) / float(row) : 1.0f / float(row);
    const Picks factors(r, a, [&](float level) { return level != 0.0f ? b : 1.0f; });
    const Noisy noisy(r, r.window_scale, 1.0 / r.window_scale);
    for_runs_of(group * row + start, count, [&](int64_t at, int64_t length) {
      alignas(64) float wide[READ_RUN], wider[READ_RUN], buffer[READ_RUN], factor[READ_RUN];
      const float *__restrict from = widened_run(As{}, x + at, length, wide);
      const float *__restrict up = widened_run(As{}, g + at, length, wider);
      float *__restrict to = room_for_run(As{}, out + at, buffer);
      if (r.window == WINDOW_NOISE)
        BEHIND[r.window_noise].slopes(noisy, from, up, length, to);
      else if (r.gain_slope == GAIN_SLOPE_PRINTED)
        scaled<GAIN_SLOPE_PRINTED>(from, up, length, window, gained, share, to);
      else if (r.gain_slope == GAIN_SLOPE_EXACT)
        scaled<GAIN_SLOPE_EXACT>(from, up, length, window, gained, share, to);
      else
        scaled<GAIN_SLOPE_NONE>(from, up, length, window, gained, share, to);
      if (picked) {
        factors.pick(from, length, factor);
        for (int64_t i = 0; i < length; ++i) to[i] = to[i] * factor[i];
      }
      round_run(As{}, to, length, out + at);
    });
  }
};

// Latents with those that are frozen on their levels: a place below 0 is that of a free one.
template <class As>
void hold(const typename As::Stored *x, const int8_t *__restrict place, int64_t start, int64_t count,
          const float *__restrict table, typename As::Stored *out) {
  for_runs_of(start, count, [&](int64_t at, int64_t length) {
    alignas(64) float wide[READ_RUN], buffer[READ_RUN];
    const float *__restrict from = widened_run(As{}, x + at, length, wide);
    float *__restrict to = room_for_run(As{}, out + at, buffer);
    for (int64_t i = 0; i < length; ++i) {
      const float level = table[place[at + i] & 127];
      to[i] = place[at + i] < 0 ? from[i] : level;
    }
    round_run(As{}, to, length, out + at);
  });
}

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
    using As = decltype(as);
    const auto *latents = (const typename As::Stored *)x;
    if (reading->unit == qt::SCALE_RANK)
      qt::parallel(groups, threads, [&](int64_t group) {
        kept[group] = qt::size_of_rank<As>(latents + group * row, row, reading->zeros);
      });
    qt::for_groups(work, groups, row, threads);
  });
}

// What is held of latents: `count` <= 128 levels, times the unit of a group. Returns as qt_reading.
extern "C" __attribute__((visibility("default"))) int qt_held(
    int32_t type, const void *x, const int8_t *place, int64_t groups, int64_t row, const float *unit,
    const float *levels, int32_t count, void *out, int32_t threads) {
  return !qt::for_latents(type, [&](auto as) {
    using As = decltype(as);
    using Stored = typename As::Stored;
    const int64_t parts = (row + qt::READ_TASK - 1) / qt::READ_TASK;
    qt::parallel(groups * parts, threads, [&](int64_t number) {
      const int64_t group = number / parts, start = number % parts * qt::READ_TASK;
      alignas(64) float table[128] = {};
      for (int32_t k = 0; k < count; ++k) table[k] = levels[k] * unit[group];
      qt::hold<As>((const Stored *)x, place, group * row + start, qt::minimum64(qt::READ_TASK, row - start),
                   table, (Stored *)out);
    });
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
    const bool learns = reading->gain == qt::SCALE_STEP || reading->gain == qt::SCALE_SIDES ||
                        reading->unit == qt::SCALE_THRESHOLD;
    std::vector<double> shared(exact ? size_t(groups) : 0);
    const qt::ReadBackward<As> work{
        *reading, (const Stored *)gradient, (const Stored *)x, (Stored *)out, kept, kept + groups,
        first, second, slopes, exact ? shared.data() : nullptr, groups, row, 0, exact || learns, !learns};
    qt::for_groups(work, groups, row, threads);
  });
}
