// One run of weights through optimiser and move. A run fits the first-level cache; its increments
// and words pass through small buffers there, so each gradient, moment and weight is read from
// memory once and the loops vectorise on their own.
#pragma once

#include "../abi.h"
#include "../optimisers.h"
#include "../storage.h"
#include "philox_fill.h"
#include "registry.h"

#include <type_traits>

namespace qt {

// Weights of a run: a multiple of 4, so packed bytes are not shared, and of the words made at once.
constexpr int64_t RUN = 576;

// increment[i] from gradient[i], the run's own; moments, from `start` on, are updated in place.
template <class Optimiser, class Gradient, class Moment>
void make_increments(const Scalars scalars, const void *gradient, void *first, void *second,
                     int64_t start, int64_t count, const uint32_t *__restrict moment_words,
                     float *__restrict increment) {
  auto g = (const typename Gradient::Stored *)gradient;
  auto m = (typename Moment::Stored *)first + start;
  auto v = (typename Moment::Stored *)second + start;
  for (int64_t i = 0; i < count; ++i) {
    float one = 0.0f, two = 0.0f;
    if constexpr (Optimiser::moments > 0) one = Moment::load(m[i]);
    if constexpr (Optimiser::moments > 1) two = Moment::load(v[i]);
    increment[i] = Optimiser::increment(scalars, Gradient::load(g[i]), one, two);
    if constexpr (Optimiser::moments > 0) m[i] = Moment::store(one, moment_words[i] >> 16);
    if constexpr (Optimiser::moments > 1) v[i] = Moment::store(two, moment_words[i] & 0xffffu);
  }
}

// Gradients of a run, each times the gain of its row.
template <class Gradient>
void scale_as(const Tensor &tensor, int64_t start, int64_t count, float *__restrict scaled) {
  auto g = (const typename Gradient::Stored *)tensor.gradient + start;
  for (int64_t i = 0; i < count;) {
    const int64_t row = (start + i) / tensor.row, end = (row + 1) * tensor.row - start;
    const float gain = tensor.gain[row];
    for (const int64_t stop = end < count ? end : count; i < stop; ++i) scaled[i] = gain * Gradient::load(g[i]);
  }
}

inline void scale_gradients(int32_t type, const Tensor &tensor, int64_t start, int64_t count,
                            float *scaled) {
  if (type == REAL_FLOAT32) return scale_as<Float32>(tensor, start, count, scaled);
  scale_as<BFloat16>(tensor, start, count, scaled);
}

// First moments of weights that have moved begin anew.
template <class Moment>
void forget(const int8_t *__restrict before, const int8_t *__restrict after, int64_t count, void *first,
            int64_t start) {
  auto m = (typename Moment::Stored *)first + start;
  for (int64_t i = 0; i < count; ++i) m[i] = after[i] == before[i] ? m[i] : typename Moment::Stored(0);
}

// Tame on the CPU: what all weights share divides by its inverse, which is made once for a run.
struct Quick : Tame {};
QT_FN float over(const Quick &, float n, float q) { return n / q; }
QT_FN float over_shared(const Quick &, float n, float q) { return quotient(n, q, 1.0f / q); }

// With a spacing that is a power of two, by which a product with the inverse is exact too.
struct Dyadic : Quick {};
QT_FN float spacings(const Dyadic &spec, float increment) { return increment * spec.inverse; }

// Calls body(spec) with a tame spec as one that is quick, and returns what it returns.
template <class Body>
auto with_quick(const Spec &spec, const Body &body) {
  const Quick quick = {tamed(spec)};
  return (bits(spec.spacing) & 0x007fffffu) == 0 ? body(Dyadic{quick}) : body(quick);
}

// Processors without a fused multiply-add would call a function for it.
#if defined(__FMA__)
constexpr bool FUSES = true;
#else
constexpr bool FUSES = false;
#endif

// The bits of the largest size, whose order is that of numbers; NaN is above all.
template <class Real>
uint32_t largest_size(const typename Real::Stored *__restrict x, int64_t count) {
  int32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int32_t size = int32_t(bits(absolute(Real::load(x[i]))));
    largest = largest > size ? largest : size;
  }
  return uint32_t(largest);
}

// The next code of a weight. A level up or down that is certain is added to the code as it is stored, a
// byte: comparisons with words are as wide as these, and the loop would be no vector code.
template <class Rule, class AnySpec>
QT_FN int8_t next_code(const AnySpec &spec, int8_t code, float increment, uint32_t word) {
  const int32_t index = code + centre(spec);
  if constexpr (certain<Rule> && std::is_same_v<decltype(Rule::outcomes(spec, index, increment)), Neighbours>) {
    const Neighbours outcomes = Rule::outcomes(spec, index, increment);
    const int8_t lowest = int8_t(-centre(spec)), highest = int8_t(spec.size - 1 - centre(spec));
    const bool number = is_number(spec, increment);
    const bool up = !below(word, outcomes.stay) & number & (code < highest);
    const bool down = below(word, outcomes.down) & number & (code > lowest);
    const int8_t next = int8_t(code + int8_t(up) - int8_t(down)), least = next > lowest ? next : lowest;
    return least < highest ? least : highest;
  } else {
    return int8_t(step<Rule>(spec, index, increment, word) - centre(spec));
  }
}

// Moves codes in place and counts; increment(i) is that of a weight. Narrow counts add up faster.
template <class Rule, class AnySpec, class Increments>
void move_as(const AnySpec spec, int64_t count, const Increments &increment,
             const uint32_t *__restrict words, int8_t *__restrict codes, Counters &counters) {
  uint16_t moved = 0, numbers = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float by = increment(i);
    const int8_t code = codes[i];
    const int8_t next = next_code<Rule>(spec, code, by, words[i]);
    moved += next != code;
    numbers += is_number(spec, by);
    codes[i] = next;
  }
  counters.moved += moved;
  counters.nan += count - numbers;
}
static_assert(RUN < 1 << 16, "counts of a run have 16 bits");

template <class Rule>
void move(const Spec spec, int64_t count, const float *__restrict increment,
          const uint32_t *__restrict words, int8_t *__restrict codes, Counters &counters) {
  const auto given = [=](int64_t i) { return increment[i]; };
  if (FUSES && !calls<Rule> && is_tame(spec) &&
      largest_size<Float32>(increment, count) < bits(tame_reach(tamed(spec))))
    return with_quick(spec, [&](const auto &quick) {
      move_as<Rule>(quick, count, given, words, codes, counters);
    });
  Levels<Rule>::with(spec, [&](const auto &known) {
    move_as<Rule>(known, count, given, words, codes, counters);
  });
}

alignas(64) constexpr uint32_t NO_WORDS[RUN] = {};  // of rules that are certain

// Increments and moves in one loop, without words and moments; false, and nothing is done, unless
// all increments are tame.
template <class Rule, class Optimiser, class Gradient>
bool move_at_once(const Spec spec, const Scalars scalars, const void *gradient, int64_t count,
                  int8_t *__restrict codes, Counters &counters) {
  if (!is_tame(spec) || !is_tame(scalars)) return false;
  const float limit = Optimiser::limit(scalars, tame_reach(tamed(spec)));
  const auto *__restrict g = (const typename Gradient::Stored *)gradient;
  if (largest_size<Gradient>(g, count) > bits(limit)) return false;
  const auto increment = [=](int64_t i) {
    float none = 0.0f;
    return Optimiser::template increment<Known>(scalars, Gradient::load(g[i]), none, none);
  };
  with_quick(spec, [&](const auto &quick) {
    move_as<Rule>(quick, count, increment, NO_WORDS, codes, counters);
  });
  return true;
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first weight is in the lowest byte");

// Codes of BITS bits, four in BITS / 2 bytes, and the bytes that a last quad of fewer needs.
template <int BITS>
void unpack(const uint8_t *__restrict bytes, int64_t count, int8_t *__restrict codes) {
  constexpr int each = BITS / 2;
  const int64_t whole = count / 4;
  for (int64_t q = 0; q < whole; ++q) {
    uint32_t quad = 0;
    for (int k = 0; k < each; ++k) quad |= uint32_t(bytes[each * q + k]) << 8 * k;
    for (int lane = 0; lane < 4; ++lane) codes[4 * q + lane] = int8_t(packed_code<BITS>(quad, lane));
  }
  uint32_t quad = 0;
  const int left = int(count & 3);
  for (int k = 0; k < (left * BITS + 7) / 8; ++k) quad |= uint32_t(bytes[each * whole + k]) << 8 * k;
  for (int lane = 0; lane < left; ++lane) codes[4 * whole + lane] = int8_t(packed_code<BITS>(quad, lane));
}

template <int BITS>
void pack(const int8_t *__restrict codes, int64_t count, uint8_t *__restrict bytes) {
  constexpr int each = BITS / 2;
  const int64_t whole = count / 4;
  for (int64_t q = 0; q < whole; ++q) {
    uint32_t quad = 0;
    for (int lane = 0; lane < 4; ++lane) quad |= code_bits<BITS>(codes[4 * q + lane], lane);
    for (int k = 0; k < each; ++k) bytes[each * q + k] = uint8_t(quad >> 8 * k);
  }
  uint32_t quad = 0;
  const int left = int(count & 3);
  for (int lane = 0; lane < left; ++lane) quad |= code_bits<BITS>(codes[4 * whole + lane], lane);
  for (int k = 0; k < (left * BITS + 7) / 8; ++k) bytes[each * whole + k] = uint8_t(quad >> 8 * k);
}

// The same for the bits of a storage that packs: 2, 4 or 6.
inline void unpack(int32_t bits, const uint8_t *bytes, int64_t count, int8_t *codes) {
  if (bits == 2) return unpack<2>(bytes, count, codes);
  return bits == 4 ? unpack<4>(bytes, count, codes) : unpack<6>(bytes, count, codes);
}
inline void pack(int32_t bits, const int8_t *codes, int64_t count, uint8_t *bytes) {
  if (bits == 2) return pack<2>(codes, count, bytes);
  return bits == 4 ? pack<4>(codes, count, bytes) : pack<6>(codes, count, bytes);
}

using MakeIncrements = void (*)(Scalars, const void *, void *, void *, int64_t, int64_t,
                                const uint32_t *, float *);
using Forget = void (*)(const int8_t *, const int8_t *, int64_t, void *, int64_t);
using Move = void (*)(Spec, int64_t, const float *, const uint32_t *, int8_t *, Counters &);
using MoveAtOnce = bool (*)(Spec, Scalars, const void *, int64_t, int8_t *, Counters &);

}  // namespace qt
