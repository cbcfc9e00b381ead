// Values that latents pick by the cuts that they reach: levels, levels times a gain, factors.
#pragma once

#include "../reading.h"
#include "numbers.h"

#include <type_traits>

namespace qt {

constexpr int32_t SEARCHED = 15;  // cuts that a table holds, found by halves

#if defined(__AVX512F__)
#define QT_TABLES 1
using Lane = __m512;
using Place = __m512i;
constexpr int TABLE_LANES = 16;
constexpr int32_t SEARCHED_FROM = 4;  // cuts, below which it is quicker to try each
struct Table {
  __m512 numbers;
  explicit Table(const float *sixteen) : numbers(_mm512_loadu_ps(sixteen)) {}
  Lane at(Place k) const { return _mm512_permutexvar_ps(k, numbers); }
};
inline Lane load_lane(const float *x) { return _mm512_loadu_ps(x); }
inline void store_lane(float *x, Lane a) { _mm512_storeu_ps(x, a); }
inline Place no_place() { return _mm512_setzero_si512(); }
inline Place moved(Place k, int step) { return _mm512_add_epi32(k, _mm512_set1_epi32(step)); }
// Further by a step where x is at least the cut.
inline Place reached(Place k, Lane x, Lane cut, int step) {
  return _mm512_mask_add_epi32(k, _mm512_cmp_ps_mask(x, cut, _CMP_GE_OQ), k, _mm512_set1_epi32(step));
}
#elif defined(__AVX2__)
#define QT_TABLES 1
using Lane = __m256;
using Place = __m256i;
constexpr int TABLE_LANES = 8;
constexpr int32_t SEARCHED_FROM = 12;
struct Table {
  __m256 low, high;
  explicit Table(const float *sixteen) : low(_mm256_loadu_ps(sixteen)), high(_mm256_loadu_ps(sixteen + 8)) {}
  Lane at(Place k) const {
    const __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(k, 28));
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, k), _mm256_permutevar8x32_ps(high, k), upper);
  }
};
inline Lane load_lane(const float *x) { return _mm256_loadu_ps(x); }
inline void store_lane(float *x, Lane a) { _mm256_storeu_ps(x, a); }
inline Place no_place() { return _mm256_setzero_si256(); }
inline Place moved(Place k, int step) { return _mm256_add_epi32(k, _mm256_set1_epi32(step)); }
inline Place reached(Place k, Lane x, Lane cut, int step) {
  const __m256i passed = _mm256_castps_si256(_mm256_cmp_ps(x, cut, _CMP_GE_OQ));
  return _mm256_add_epi32(k, _mm256_and_si256(passed, _mm256_set1_epi32(step)));
}
#endif

inline void hand_nan_on(const float *__restrict x, int64_t count, float *__restrict out) {
  for (int64_t i = 0; i < count; ++i) out[i] = x[i] == x[i] ? out[i] : x[i];
}

// Value k + 1 from the cut k on, in weight units; of NaN the first.
struct Picks {
  int32_t steps;
  bool in_order = true;  // cuts do not decrease, as they do for a negative unit
  float cut[MOST_STEPS + 1], value[MOST_STEPS + 1];

  template <class Value>
  Picks(const Reading &reading, float unit, const Value &value_of) : steps(reading.steps) {
    for (int32_t k = 0; k < steps; ++k)
      cut[k] = least_beyond(reading.up[k], float(reading.threshold[k]) * unit);
    for (int32_t k = 0; k <= steps; ++k) value[k] = value_of(float(reading.level[k]));
    for (int32_t k = 1; k < steps; ++k) in_order &= cut[k] >= cut[k - 1];
    for (int32_t k = steps; k <= SEARCHED; ++k) cut[k] = real(NAN_BITS);
    for (int32_t k = steps + 1; k <= SEARCHED; ++k) value[k] = 0.0f;
  }

  template <int N>
  QT_FN float of(float x) const {
    float v = value[0];
#pragma GCC unroll 4
    for (int k = 0; k < N; ++k) v = x >= cut[k] ? value[k + 1] : v;
    return v;
  }

  template <int N>
  void pick_of(const float *__restrict x, int64_t count, float *__restrict out) const {
    for (int64_t i = 0; i < count; ++i) out[i] = of<N>(x[i]);
  }

  template <int N>
  void show_of(const float *__restrict x, int64_t count, float *__restrict out) const {
    for (int64_t i = 0; i < count; ++i) {
      const float v = of<N>(x[i]);
      out[i] = x[i] == x[i] ? v : x[i];
    }
  }

  // As many of a run as fit whole vectors; how many these are.
  int64_t search(const float *__restrict x, int64_t count, float *__restrict out) const {
    int64_t i = 0;
#if defined(QT_TABLES)
    if (steps < SEARCHED_FROM || steps > SEARCHED || !in_order) return 0;
    const Table cuts(cut), values(value);
    for (; i + TABLE_LANES <= count; i += TABLE_LANES) {
      const Lane a = load_lane(x + i);
      Place k = no_place();
      for (int step = 8; step > 0; step /= 2) k = reached(k, a, cuts.at(moved(k, step - 1)), step);
      store_lane(out + i, values.at(k));
    }
#endif
    return i;
  }

  void pick_many(const float *__restrict x, int64_t count, float *__restrict out) const {
    const int64_t done = search(x, count, out);
    x += done, out += done, count -= done;
    pick_of<3>(x, count, out);
    for (int32_t k = 3; k < steps; ++k) {
      const float at = cut[k], v = value[k + 1];
      for (int64_t i = 0; i < count; ++i) out[i] = x[i] >= at ? v : out[i];
    }
  }

  void pick(const float *x, int64_t count, float *out) const {
    if (steps == 1) return pick_of<1>(x, count, out);
    if (steps == 2) return pick_of<2>(x, count, out);
    if (steps == 3) return pick_of<3>(x, count, out);
    pick_many(x, count, out);
  }

  // Calls body(n), after which `at<n>` gives the value of a latent, from its place in the run where n
  // is 0: for up to three steps values are picked in the loop that uses them.
  template <class Body>
  void each(const float *x, int64_t count, float *picked, const Body &body) const {
    if (steps == 1) return body(std::integral_constant<int, 1>{});
    if (steps == 2) return body(std::integral_constant<int, 2>{});
    if (steps == 3) return body(std::integral_constant<int, 3>{});
    pick_many(x, count, picked);
    body(std::integral_constant<int, 0>{});
  }
  template <int N>
  QT_FN float at(float x, float picked) const {
    return N ? of<N>(x) : picked;
  }

  // As `pick`, and NaN of NaN.
  void show(const float *x, int64_t count, float *out) const {
    if (steps == 1) return show_of<1>(x, count, out);
    if (steps == 2) return show_of<2>(x, count, out);
    if (steps == 3) return show_of<3>(x, count, out);
    pick_many(x, count, out);
    hand_nan_on(x, count, out);
  }
};

}  // namespace qt
