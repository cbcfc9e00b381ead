// Ternary numbers in two bits each, as a weight's are stored: what is kept of an activation.
#pragma once

#include "../abi.h"
#include "numbers.h"
#include "pool.h"
#include "step.h"

namespace qt {

// Runs that a thread takes at a time.
constexpr int64_t TRITS_TASK = 64 * RUN;

// Returns 1 if a number is not -1, 0 or 1; what is written then means nothing.
template <class As>
int trits(As as, const typename As::Stored *numbers, int64_t count, uint8_t *bytes, int32_t threads) {
  std::atomic<int> other{0};
  parallel((count + TRITS_TASK - 1) / TRITS_TASK, threads, [&](int64_t number) {
    alignas(64) float wide[RUN];
    alignas(64) int8_t codes[RUN];
    int32_t bad = 0;
    const int64_t end = minimum64((number + 1) * TRITS_TASK, count);
    for (int64_t start = number * TRITS_TASK; start < end && !bad; start += RUN) {
      const int64_t length = minimum64(RUN, end - start);
      const float *x = widened_run(as, numbers + start, length, wide);
      for (int64_t i = 0; i < length; ++i) {
        const int32_t code = int32_t(x[i] > 0.0f) - int32_t(x[i] < 0.0f);
        bad |= int32_t(float(code) != x[i]);
        codes[i] = int8_t(code);
      }
      pack(2, codes, length, bytes + start / 4);
    }
    if (bad) other = 1;
  });
  return other;
}

}  // namespace qt

extern "C" __attribute__((visibility("default"))) int qt_trits(int32_t real, const void *x,
                                                                int64_t count, uint8_t *bytes,
                                                                int32_t threads) {
  if (real == qt::REAL_FLOAT32) return qt::trits(qt::AsFloat32{}, (const float *)x, count, bytes, threads);
  const auto *halves = (const uint16_t *)x;
  if (real == qt::REAL_BFLOAT16) return qt::trits(qt::AsBFloat16{}, halves, count, bytes, threads);
  return qt::trits(qt::AsFloat16{}, halves, count, bytes, threads);
}
