// Runs of numbers, widened to float32 and rounded back. The bits are those of half.h and storage.h;
// here is what a processor has instructions for.
#pragma once

#include "../stair.h"

#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace qt {

inline int64_t minimum64(int64_t a, int64_t b) { return a < b ? a : b; }

// The numbers in the type that computes: themselves, or widened into the buffer.
inline const float *widened_run(AsFloat32, const float *x, int64_t, float *) { return x; }
inline const double *widened_run(AsFloat64, const double *x, int64_t, double *) { return x; }

inline const float *widened_run(AsBFloat16, const uint16_t *__restrict x, int64_t count,
                                float *__restrict buffer) {
  for (int64_t i = 0; i < count; ++i) buffer[i] = AsBFloat16::load(x[i]);
  return buffer;
}

inline const float *widened_run(AsFloat16, const uint16_t *__restrict x, int64_t count,
                                float *__restrict buffer) {
  int64_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= count; i += 8)
    _mm256_storeu_ps(buffer + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(x + i))));
#endif
  for (; i < count; ++i) buffer[i] = AsFloat16::load(x[i]);
  return buffer;
}

// Where a run is computed: in place, or in a buffer that `round_run` then rounds.
inline float *room_for_run(AsFloat32, float *to, float *) { return to; }
inline double *room_for_run(AsFloat64, double *to, double *) { return to; }
template <class As>
float *room_for_run(As, uint16_t *, float *buffer) {
  return buffer;
}

inline void round_run(AsFloat32, const float *, int64_t, float *) {}
inline void round_run(AsFloat64, const double *, int64_t, double *) {}

inline void round_run(AsBFloat16, const float *__restrict x, int64_t count,
                      uint16_t *__restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] = AsBFloat16::store(x[i]);
}

inline void round_run(AsFloat16, const float *__restrict x, int64_t count, uint16_t *__restrict to) {
  int64_t i = 0;
#if defined(__F16C__)
  const auto bits_of = [](int32_t b) { return _mm256_castsi256_ps(_mm256_set1_epi32(b)); };
  for (; i + 8 <= count; i += 8) {  // of a NaN nearest_half keeps the sign alone
    const __m256 value = _mm256_loadu_ps(x + i), nan = _mm256_cmp_ps(value, value, _CMP_UNORD_Q);
    const __m256 rest = _mm256_andnot_ps(_mm256_and_ps(nan, bits_of(0x003fffff)), value);
    const __m256 quiet = _mm256_or_ps(rest, _mm256_and_ps(nan, bits_of(0x00400000)));
    _mm_storeu_si128((__m128i *)(to + i), _mm256_cvtps_ph(quiet, 0));
  }
#endif
  for (; i < count; ++i) to[i] = AsFloat16::store(x[i]);
}

}  // namespace qt
