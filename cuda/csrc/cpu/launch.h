// The functions that carry out a launch, chosen by its numbers, and one run of its weights.
#pragma once

#include "numbers.h"
#include "step.h"

namespace qt {

template <class Optimiser>
MakeIncrements choose_increments(int32_t gradient, int32_t moment) {
  const bool wide = gradient == REAL_FLOAT32;
  if (moment == REAL_FLOAT32)
    return wide ? make_increments<Optimiser, Float32, Float32> : make_increments<Optimiser, BFloat16, Float32>;
  if (moment == REAL_BFLOAT16)
    return wide ? make_increments<Optimiser, Float32, BFloat16> : make_increments<Optimiser, BFloat16, BFloat16>;
  if constexpr (Optimiser::moments == 1)
    return wide ? make_increments<Optimiser, Float32, Int8> : make_increments<Optimiser, BFloat16, Int8>;
  return nullptr;
}

inline Forget choose_forget(int32_t moment) {
  if (moment == REAL_FLOAT32) return forget<Float32>;
  return moment == REAL_BFLOAT16 ? forget<BFloat16> : forget<Int8>;
}

template <class Rule, class Optimiser>
MoveAtOnce choose_at_once(int32_t gradient) {
  if constexpr (FUSES && certain<Rule> && Optimiser::moments == 0)
    return gradient == REAL_FLOAT32 ? move_at_once<Rule, Optimiser, Float32> : move_at_once<Rule, Optimiser, BFloat16>;
  return nullptr;
}

// The same for a rule and an optimiser by their numbers; null where there is none.
inline MoveAtOnce find_at_once(int32_t rule, int32_t optimiser, int32_t gradient) {
  int32_t place = 0;
#define QT_AT_ONCE(rule, optimiser) choose_at_once<rule, optimiser>(gradient),
#define QT_ROW(name)                                                          \
  if (rule == place++) {                                                      \
    const MoveAtOnce row[] = {QT_OPTIMISERS_OF(QT_AT_ONCE, name)};            \
    return row[optimiser];                                                    \
  }
  QT_ALGORITHMS(QT_ROW)
#undef QT_ROW
#undef QT_AT_ONCE
  return nullptr;
}

struct Functions {
  MakeIncrements make_increments, of_scaled;  // from gradients as they are, and times gains
  MoveAtOnce at_once, of_scaled_at_once;      // likewise, or null
  Move move;
  Forget forget;  // or null
  int moments;
  bool draws;
};

// Increments from gradients of a run, through a buffer, then moves.
inline void move_by_words(const Launch &launch, const Functions &functions, const Tensor &tensor,
                          const Scalars &scalars, uint32_t iteration, int64_t start, int64_t count,
                          const void *gradient, int8_t *codes, Counters &counters) {
  alignas(64) float increment[RUN];
  alignas(64) int8_t before[RUN];
  WordBuffer<RUN> buffer, moment_buffer;
  const uint64_t element = uint64_t(tensor.offset + start);
  const uint32_t *moment_words = moment_buffer.storage;
  if (functions.moments && launch.moment_type != REAL_FLOAT32)
    moment_words =
        moment_buffer.fill(launch.seed, iteration, tensor.tensor, STREAM_MOMENT, element, count);
  const MakeIncrements make = tensor.gain ? functions.of_scaled : functions.make_increments;
  make(scalars, gradient, tensor.first, tensor.second, start, count, moment_words, increment);
  if (tensor.increment) memcpy(tensor.increment + start, increment, size_t(count) * sizeof(float));
  const uint32_t *words = NO_WORDS;
  if (functions.draws)
    words = buffer.fill(launch.seed, iteration, tensor.tensor, STREAM_MOVE, element, count);
  if (functions.forget) memcpy(before, codes, size_t(count));
  functions.move(launch.spec, count, increment, words, codes, counters);
  if (functions.forget) functions.forget(before, codes, count, tensor.first, start);
}

// What the next run will read comes from memory while this one is computed.
inline void fetch(const void *from, int64_t bytes) {
  for (int64_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch((const char *)from + byte);
}

// Weights start .. start + count - 1 of a tensor, count <= RUN.
inline void step_run(const Launch &launch, const Functions &functions, const Tensor &tensor,
                     const Scalars &scalars, uint32_t iteration, int64_t start, int64_t count,
                     Counters &counters) {
  alignas(64) float scaled[RUN];
  alignas(64) int8_t codes[RUN];
  const int32_t bits = bits_of(launch.storage);
  uint8_t *bytes = (uint8_t *)tensor.state + start / 4 * bits / 2;
  if (bits < 8) unpack(bits, bytes, count, codes);
  int8_t *moving = bits < 8 ? codes : (int8_t *)bytes;
  const int64_t size = launch.gradient_type == REAL_FLOAT32 ? 4 : 2;
  const void *gradient = (const char *)tensor.gradient + start * size;
  const int64_t ahead = minimum64(RUN, tensor.count - start - count);
  fetch((const char *)gradient + count * size, ahead * size);
  fetch(bytes + count * bits / 8, ahead * bits / 8);
  if (tensor.gain) {
    scale_gradients(launch.gradient_type, tensor, start, count, scaled);
    gradient = scaled;
  }
  const MoveAtOnce at_once = tensor.gain ? functions.of_scaled_at_once : functions.at_once;
  const bool alone = at_once && !tensor.increment;
  if (!alone || !at_once(launch.spec, scalars, gradient, count, moving, counters))
    move_by_words(launch, functions, tensor, scalars, iteration, start, count, gradient, moving, counters);
  if (bits < 8) pack(bits, codes, count, bytes);
}

}  // namespace qt
