// Sums in float64 whose order is fixed, whatever the vectors and threads: along a plane sixteen lanes
// take every sixteenth element and are added in halves; down a column one row after the other.
#pragma once

#include "../batch_norm.h"

namespace qt {

#if defined(__AVX512F__)
constexpr int WIDE = 8;
#elif defined(__AVX__)
constexpr int WIDE = 4;
#else
constexpr int WIDE = 2;
#endif
typedef double Doubles __attribute__((vector_size(8 * WIDE)));
typedef float Floats __attribute__((vector_size(4 * WIDE)));
typedef int64_t Longs __attribute__((vector_size(8 * WIDE)));

QT_FN Doubles load_doubles(const double *p) {
  Doubles x;
  memcpy(&x, p, sizeof x);
  return x;
}
QT_FN void store_doubles(double *p, Doubles x) { memcpy(p, &x, sizeof x); }
QT_FN Doubles widened(const float *p) {
  Floats x;
  memcpy(&x, p, sizeof x);
  return __builtin_convertvector(x, Doubles);
}

// Sums of a and of a b along a plane, in pieces of a multiple of LANES but the last.
struct PlaneSums {
  double first[LANES] = {}, second[LANES] = {};

  void add(const float *a, const float *b, int64_t count) {
    constexpr int parts = LANES / WIDE;
    Doubles s[parts], q[parts];
    for (int k = 0; k < parts; ++k)
      s[k] = load_doubles(first + k * WIDE), q[k] = load_doubles(second + k * WIDE);
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
      for (int k = 0; k < parts; ++k) {
        const Doubles x = widened(a + i + k * WIDE);
        s[k] += x;
        q[k] += x * widened(b + i + k * WIDE);
      }
    for (int k = 0; k < parts; ++k)
      store_doubles(first + k * WIDE, s[k]), store_doubles(second + k * WIDE, q[k]);
    for (int lane = 0; i < count; ++i, ++lane)
      first[lane] += double(a[i]), second[lane] += double(a[i]) * double(b[i]);
  }

  void finish(double *out) {
    for (int half = LANES / 2; half > 0; half /= 2)
      for (int lane = 0; lane < half; ++lane)
        first[lane] += first[lane + half], second[lane] += second[lane + half];
    out[0] = first[0], out[1] = second[0];
  }
};

// The sum of one row of numbers, in pieces and lanes as those of a plane.

struct LaneSum {
  double lane[LANES] = {};

  void add(const float *a, int64_t count) {
    add_each(a, count, [](Doubles x) { return x; }, [](double x) { return x; });
  }

  // Sizes of the numbers.
  void add_sizes(const float *a, int64_t count) {
    add_each(
        a, count, [](Doubles x) { return (Doubles)((Longs)x & INT64_MAX); },
        [](double x) { return __builtin_fabs(x); });
  }

  template <class OfVector, class OfNumber>
  void add_each(const float *a, int64_t count, OfVector of_vector, OfNumber of_number) {
    constexpr int parts = LANES / WIDE;
    Doubles s[parts];
    for (int k = 0; k < parts; ++k) s[k] = load_doubles(lane + k * WIDE);
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
      for (int k = 0; k < parts; ++k) s[k] += of_vector(widened(a + i + k * WIDE));
    for (int k = 0; k < parts; ++k) store_doubles(lane + k * WIDE, s[k]);
    for (int l = 0; i < count; ++i, ++l) lane[l] += of_number(double(a[i]));
  }

  double finish() {
    for (int half = LANES / 2; half > 0; half /= 2)
      for (int l = 0; l < half; ++l) lane[l] += lane[l + half];
    return lane[0];
  }
};

// Sums of a and of a b down `width` columns of `rows` rows, `stride` numbers apart.
inline void add_columns(const float *a, const float *b, int64_t rows, int64_t width, int64_t stride,
                        double *first, double *second) {
  int64_t column = 0;
  for (; column + LANES <= width; column += LANES) {
    constexpr int parts = LANES / WIDE;
    Doubles s[parts], q[parts];
    for (int k = 0; k < parts; ++k)
      s[k] = load_doubles(first + column + k * WIDE), q[k] = load_doubles(second + column + k * WIDE);
    for (int64_t row = 0; row < rows; ++row)
      for (int k = 0; k < parts; ++k) {
        const int64_t at = row * stride + column + k * WIDE;
        const Doubles x = widened(a + at);
        s[k] += x;
        q[k] += x * widened(b + at);
      }
    for (int k = 0; k < parts; ++k)
      store_doubles(first + column + k * WIDE, s[k]), store_doubles(second + column + k * WIDE, q[k]);
  }
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = column; i < width; ++i) {
      const int64_t at = row * stride + i;
      first[i] += double(a[at]), second[i] += double(a[at]) * double(b[at]);
    }
}

}  // namespace qt
