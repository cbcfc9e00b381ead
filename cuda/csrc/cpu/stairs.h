// Stairs as activations, run by run. A run fits the first-level cache; passes over thresholds go
// through small buffers there, so each number is read from memory once, and the loops vectorise.
//
// Backwards a rectangular window is a count: how many windows are open, in 1, 2, 4 or 8 bits an
// element, the first element in the lowest bits. Where jumps differ, or windows are triangular, the
// input itself is kept and the slope made from it (`bits` is 0).
#pragma once

#include "folded_halves.h"
#include "pool.h"

namespace qt {

constexpr int64_t STAIR_RUN = 512;               // elements; whole bytes for any number of bits
constexpr int64_t STAIR_TASK = 64 * STAIR_RUN;   // elements that a thread takes at a time

// One bit of each byte, which is 0 or 1.
QT_FN uint8_t pack_eight(const uint8_t *flags) {
  uint64_t eight;
  memcpy(&eight, flags, sizeof eight);
  return uint8_t(eight * 0x0102040810204080ull >> 56);
}

// Counts, one a byte, to `size` bits each; `count` is a multiple of 8.
inline void pack_counts(const uint8_t *__restrict counts, int64_t count, int32_t size,
                        uint8_t *__restrict out) {
  if (size == 1) {
    int64_t b = 0;
#if defined(__SSE2__)
    for (; b + 2 <= count / 8; b += 2) {
      const __m128i flags = _mm_loadu_si128((const __m128i *)(counts + 8 * b));
      const int sixteen = _mm_movemask_epi8(_mm_slli_epi16(flags, 7));
      out[b] = uint8_t(sixteen), out[b + 1] = uint8_t(sixteen >> 8);
    }
#endif
    for (; b < count / 8; ++b) out[b] = pack_eight(counts + 8 * b);
  } else if (size == 2) {
    for (int64_t b = 0; b < count / 4; ++b)
      out[b] = uint8_t(counts[4 * b] | counts[4 * b + 1] << 2 | counts[4 * b + 2] << 4 |
                       counts[4 * b + 3] << 6);
  } else if (size == 4) {
    for (int64_t b = 0; b < count / 2; ++b) out[b] = uint8_t(counts[2 * b] | counts[2 * b + 1] << 4);
  } else {
    memcpy(out, counts, size_t(count));
  }
}

// Counts of a run. Bits of a last byte that are nobody's are 0.
inline void put_counts(uint8_t *open, int64_t count, int32_t size, uint8_t *kept) {
  alignas(64) uint8_t packed[STAIR_RUN];
  for (int64_t i = count; i & 7; ++i) open[i] = 0;
  pack_counts(open, (count + 7) / 8 * 8, size, packed);
  memcpy(kept, packed, size_t((count * size + 7) / 8));
}

inline void unpack_counts(const uint8_t *__restrict in, int64_t count, int32_t size,
                          uint8_t *__restrict counts) {
  if (size == 8) {
    memcpy(counts, in, size_t(count));
    return;
  }
  if (size == 1) {
    for (int64_t b = 0; b < count / 8; ++b) {
      const uint64_t eight = (in[b] * 0x0101010101010101ull & 0x8040201008040201ull) + 0x7f7f7f7f7f7f7f7full;
      const uint64_t flags = eight >> 7 & 0x0101010101010101ull;
      memcpy(counts + 8 * b, &flags, sizeof flags);
    }
    return;
  }
  const int32_t each = 8 / size, mask = (1 << size) - 1;
  for (int64_t b = 0; b < count / each; ++b)
    for (int32_t i = 0; i < each; ++i) counts[each * b + i] = uint8_t(in[b] >> size * i & mask);
}

// The levels of a run. N is the number of thresholds, or 0 for any.
template <class F, int N>
void stair_levels(const Stair &stair, const F *__restrict x, int64_t count, F *__restrict z) {
  const int32_t folded = stair.folded, up = stair.up;
  const F lowest = F(0) + F(stair.lowest);
  if constexpr (N == 1) {
    const F t = F(stair.threshold[0]), jump = F(stair.jump[0]);
    for (int64_t i = 0; i < count; ++i) {
      const F u = fold(folded, x[i]);
      z[i] = finish(folded, x[i], lowest + (passes(up, u, t) ? jump : F(0)));
    }
  } else {
    alignas(64) F u[STAIR_RUN], level[STAIR_RUN];
    for (int64_t i = 0; i < count; ++i) u[i] = fold(folded, x[i]), level[i] = lowest;
    for (int32_t step = 0; step < stair.steps; ++step) {
      const F t = F(stair.threshold[step]), jump = F(stair.jump[step]);
      for (int64_t i = 0; i < count; ++i) level[i] += passes(up, u[i], t) ? jump : F(0);
    }
    for (int64_t i = 0; i < count; ++i) z[i] = finish(folded, x[i], level[i]);
  }
}

// How many windows are open at each of a run.
template <class F>
void open_windows(const Stair &stair, double half_width, const F *__restrict x, int64_t count,
                  uint8_t *__restrict open) {
  const int32_t folded = stair.folded;
  const F a = F(half_width);
  for (int32_t step = 0; step < stair.steps; ++step) {
    const F t = F(stair.threshold[step]);
    if (step == 0)
      for (int64_t i = 0; i < count; ++i) open[i] = within(fold(folded, x[i]), t, a);
    else
      for (int64_t i = 0; i < count; ++i)
        open[i] = uint8_t(open[i] + within(fold(folded, x[i]), t, a));
  }
}

#if defined(__AVX__)
// The one window of eight elements, in a bit each: what `within` says.
inline uint8_t eight_windows(bool folded, const float *x, float threshold, float half_width) {
  const __m256 size = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  const __m256 value = _mm256_loadu_ps(x), u = folded ? _mm256_and_ps(value, size) : value;
  const __m256 distance = _mm256_and_ps(_mm256_sub_ps(u, _mm256_set1_ps(threshold)), size);
  return uint8_t(_mm256_movemask_ps(_mm256_cmp_ps(distance, _mm256_set1_ps(half_width), _CMP_LE_OQ)));
}
#endif

// The counts of the windows of a run.
template <class F>
void keep_windows(const Stair &stair, double half_width, int32_t size, const F *x, int64_t count,
                  uint8_t *kept) {
  alignas(64) uint8_t open[STAIR_RUN];
  int64_t i = 0;
#if defined(__AVX__)
  if constexpr (sizeof(F) == sizeof(float))
    if (size == 1 && stair.steps == 1)
      for (; i + 8 <= count; i += 8)
        kept[i / 8] = eight_windows(stair.folded, x + i, float(stair.threshold[0]), float(half_width));
#endif
  if (i == count) return;
  open_windows(stair, half_width, x + i, count - i, open);
  put_counts(open, count - i, size, kept + i * size / 8);
}

// Slopes at x, from the windows themselves.
template <class F>
void slopes_of_run(const Stair &stair, double half_width, const F *__restrict x, int64_t count,
                   F *__restrict slope) {
  const F a = F(half_width);
  for (int32_t step = 0; step < stair.steps; ++step) {
    const F t = F(stair.threshold[step]), peak = height<F>(stair, step, half_width);
    const int32_t folded = stair.folded, triangular = stair.triangular;
    for (int64_t i = 0; i < count; ++i) {
      const F part = window(triangular, fold(folded, x[i]), t, a, peak);
      slope[i] = step ? slope[i] + part : part;
    }
  }
}

// Slopes of 0, 1, ... open windows of one height: sums, one after the other.
template <class F>
void slopes_of_counts(const Stair &stair, double half_width, F slopes[MOST_STEPS + 1]) {
  slopes[0] = F(0);
  for (int32_t step = 0; step < stair.steps; ++step)
    slopes[step + 1] = slopes[step] + height<F>(stair, step, half_width);
}

// The runs of a task each.
template <class Body>
void for_runs(int64_t count, int32_t threads, const Body &body) {
  parallel((count + STAIR_TASK - 1) / STAIR_TASK, threads, [&](int64_t number) {
    const int64_t end = number * STAIR_TASK + STAIR_TASK < count ? (number + 1) * STAIR_TASK : count;
    for (int64_t start = number * STAIR_TASK; start < end; start += STAIR_RUN)
      body(start, end - start < STAIR_RUN ? end - start : STAIR_RUN);
  });
}

template <class As>
void folded_forward(const Stair &stair, double half_width, int32_t size, const void *x,
                    int64_t count, void *z, uint8_t *kept, int32_t threads) {
  const FoldedHalves<As> folded(stair, half_width);
  for_runs(count, threads, [&](int64_t start, int64_t length) {
    alignas(64) uint8_t open[STAIR_RUN];
    const uint16_t *from = (const uint16_t *)x + start;
    folded.levels(from, length, (uint16_t *)z + start);
    if (!size) return;
    folded.windows(from, length, open);
    put_counts(open, length, size, kept + start * size / 8);
  });
}

template <class As>
void stair_forward(const Stair &stair, double half_width, int32_t size, const void *x, int64_t count,
                   void *z, uint8_t *kept, int32_t threads) {
  using F = typename As::Number;
  using Stored = typename As::Stored;
  if constexpr (sizeof(Stored) == 2)
    if (FoldedHalves<As>::suits(stair))
      return folded_forward<As>(stair, half_width, size, x, count, z, kept, threads);
  const auto levels = stair.steps == 1 ? stair_levels<F, 1> : stair_levels<F, 0>;
  for_runs(count, threads, [&](int64_t start, int64_t length) {
    alignas(64) F wide[STAIR_RUN], buffer[STAIR_RUN];
    const F *from = widened_run(As{}, (const Stored *)x + start, length, wide);
    Stored *to = (Stored *)z + start;
    F *out = room_for_run(As{}, to, buffer);
    levels(stair, from, length, out);
    round_run(As{}, out, length, to);
    if (size) keep_windows(stair, half_width, size, from, length, kept + start * size / 8);
  });
}

template <class As>
void stair_backward(const Stair &stair, double half_width, int32_t size, const void *gradient,
                    const void *kept, int64_t count, void *out, int32_t threads) {
  using F = typename As::Number;
  using Stored = typename As::Stored;
  F table[MOST_STEPS + 1];
  if (size) slopes_of_counts(stair, half_width, table);
  for_runs(count, threads, [&](int64_t start, int64_t length) {
    alignas(64) uint8_t packed[STAIR_RUN], open[STAIR_RUN];
    alignas(64) F slope[STAIR_RUN], wide[STAIR_RUN], buffer[STAIR_RUN];
    if (size) {
      memcpy(packed, (const uint8_t *)kept + start * size / 8, size_t((length * size + 7) / 8));
      unpack_counts(packed, (length + 7) / 8 * 8, size, open);
      const F once = table[1];
      if constexpr (sizeof(Stored) == 2)
        if (size == 1 && once == F(1))
          return times_flags<As>(open, (const Stored *)gradient + start, length,
                                 (Stored *)out + start);
      if (size == 1)
        for (int64_t i = 0; i < length; ++i) slope[i] = open[i] ? once : F(0);
      else
        for (int64_t i = 0; i < length; ++i) slope[i] = table[open[i]];
    } else {
      const F *x = widened_run(As{}, (const Stored *)kept + start, length, wide);
      slopes_of_run(stair, half_width, x, length, slope);
    }
    const F *__restrict g = widened_run(As{}, (const Stored *)gradient + start, length, wide);
    Stored *to = (Stored *)out + start;
    F *__restrict into = room_for_run(As{}, to, buffer);
    for (int64_t i = 0; i < length; ++i) into[i] = slope[i] * g[i];
    round_run(As{}, into, length, to);
  });
}

// Calls body(As{}) for the type of a number; false for an unknown one.
template <class Body>
bool for_type(int32_t type, const Body &body) {
  switch (type) {
    case 0: return body(AsFloat32{}), true;
    case 1: return body(AsBFloat16{}), true;
    case 2: return body(AsFloat16{}), true;
    case 3: return body(AsFloat64{}), true;
  }
  return false;
}

}  // namespace qt

// A stair at `count` numbers, and what its slope is made from. Returns 0, or 1 for an unknown type.
extern "C" __attribute__((visibility("default"))) int qt_stair(
    const qt::Stair *stair, const double *half_width, int32_t type, int32_t size, const void *x,
    int64_t count, void *z, uint8_t *kept, int32_t threads) {
  return !qt::for_type(type, [&](auto as) {
    qt::stair_forward<decltype(as)>(*stair, *half_width, size, x, count, z, kept, threads);
  });
}

// Numbers times slopes: of counts, or of the input if `size` is 0. Returns as qt_stair.
extern "C" __attribute__((visibility("default"))) int qt_stair_slope(
    const qt::Stair *stair, const double *half_width, int32_t type, int32_t size,
    const void *gradient, const void *kept, int64_t count, void *out, int32_t threads) {
  return !qt::for_type(type, [&](auto as) {
    qt::stair_backward<decltype(as)>(*stair, *half_width, size, gradient, kept, count, out, threads);
  });
}
