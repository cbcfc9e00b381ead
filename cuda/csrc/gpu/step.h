// An optimiser step of one block. Weights whose increments are tame (see ../tame.h) go GROUP at a
// time, with wide loads, and with one question for all of them instead of several for each. The
// others, the last ones of a tensor, tensors at odd addresses, and those of rules that call a function
// go a quad at a time, by the plain functions. Same bits either way.
#pragma once

#include "../optimisers.h"
#include "../walker.h"
#include "gains.h"

namespace qt {

// The part of a launch that a block takes: weights number * CHUNK and on of a tensor.
struct Chunk {
  int32_t tensor;
  uint32_t number;
};

// The chunk of this block. Behind the rows of the table is, for each, how many chunks are before it.
QT_DEVICE Chunk chunk_of(const Tensor *tensors, int32_t count) {
  const uint32_t *before = (const uint32_t *)(tensors + count);
  const int32_t tensor = kind_of(before, count, blockIdx.x);
  return Chunk{tensor, blockIdx.x - before[tensor]};
}

// Sum of x over the threads of a block, for the first thread. At most 2^32 - 1.
QT_DEVICE uint32_t block_sum(uint32_t x) {
  __shared__ uint32_t of_warp[THREADS / 32];
  QT_UNROLL for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(0xffffffffu, x, lane);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = x;
  __syncthreads();
  uint32_t sum = 0;
  QT_UNROLL for (int warp = 0; warp < THREADS / 32; ++warp) sum += of_warp[warp];
  return sum;
}

// One integer addition per counter and block, whose counts share 32 bits.
QT_DEVICE void add_counts(Counters *counters, uint32_t counts) {
  static_assert(CHUNK < 65536, "a count of a block fits sixteen bits");
  const uint32_t sum = block_sum(counts);
  if (threadIdx.x != 0 || !counters) return;
  const unsigned long long moved = sum & 0xffffu, nan = sum >> 16;
  if (moved) atomicAdd((unsigned long long *)&counters->moved, moved);
  if (nan) atomicAdd((unsigned long long *)&counters->nan, nan);
}

// What the weights of a block share. The tensor is the block's part of it.
struct Shared {
  Launch launch;
  Tensor tensor;
  Gains gains;
  Scalars scalars;
  uint32_t iteration;
};

// The largest number and the largest magnitude of a negative one, by their bits. NaN is largest.
struct Extremes {
  int32_t positive = 0;
  uint32_t negative = 0;

  QT_DEVICE void add(float x) {
    const int32_t b = int32_t(bits(x));
    positive = b > positive ? b : positive;
    negative = uint32_t(b) > negative ? uint32_t(b) : negative;
  }

  QT_DEVICE bool within(float limit) const {
    return positive <= int32_t(bits(limit)) && negative <= bits(-limit);
  }
};

// The step of a rule and an optimiser, for one way to store each number. Counts go to the low and
// high halves of `counts`: weights that changed level, and increments that were not numbers.
template <class Rule, class Optimiser, class State, class Gradient, class Moment>
struct Step {
  static constexpr int moments = Optimiser::moments;
  static constexpr bool rounds = moments > 0 && sizeof(typename Moment::Stored) < 4;
  // Float32 moments are written 16 bytes at a time: neighbouring lanes take neighbouring quads.
  static constexpr uint32_t gap = moments > 0 && !rounds ? 32 * QUAD : QUAD;
  using Codes = Indices<State, gap>;

  // The part of a tensor from a weight on, a multiple of QUAD.
  static QT_DEVICE Tensor part(Tensor t, int64_t begin, int32_t count) {
    t.state = (char *)t.state + begin / State::each;
    t.gradient = (const typename Gradient::Stored *)t.gradient + begin;
    if (moments > 0) t.first = (typename Moment::Stored *)t.first + begin;
    if (moments > 1) t.second = (typename Moment::Stored *)t.second + begin;
    if (t.increment) t.increment += begin;
    t.offset += begin;
    t.count = count;
    return t;
  }

  static QT_DEVICE int32_t weight(const Shared &all, uint32_t i, int32_t code, uint32_t word,
                                  uint32_t moment_word, uint32_t &counts) {
    const Tensor &t = all.tensor;
    float m = 0.0f, v = 0.0f;
    if constexpr (moments > 0) m = read<Moment>(t.first, i);
    if constexpr (moments > 1) v = read<Moment>(t.second, i);
    float gradient = read<Gradient>(t.gradient, i);
    if (all.gains.first) gradient *= all.gains.at(i);
    const float increment = Optimiser::increment(all.scalars, gradient, m, v);
    if (t.increment) write<Float32>(t.increment, i, increment, 0);
    const Spec &spec = all.launch.spec;
    const int32_t index = code + centre(spec);
    const int32_t next = step<Rule>(spec, index, increment, word);
    if (forgets<Rule> && next != index) m = 0.0f;
    if constexpr (moments > 0) write<Moment>(t.first, i, m, moment_word >> 16);
    if constexpr (moments > 1) write<Moment>(t.second, i, v, moment_word & 0xffffu);
    counts += uint32_t(next != index) | uint32_t(increment != increment) << 16;
    return next - centre(spec);
  }

  // Weights from `start` on, at most a quad of them.
  static QT_DEVICE void quad(const Shared &all, uint32_t start, uint32_t &counts) {
    const int32_t left = int32_t(all.tensor.count) - int32_t(start);
    if (left <= 0) return;
    const Range at = {start, left < QUAD ? left : QUAD, false};
    const uint64_t element = uint64_t(all.tensor.offset) + start;
    uint32_t words[QUAD], moment_words[QUAD] = {};
    words_from<QUAD>(all.launch.seed, all.iteration, all.tensor.tensor, STREAM_MOVE, element, words);
    if constexpr (rounds)
      words_from<QUAD>(all.launch.seed, all.iteration, all.tensor.tensor, STREAM_MOMENT, element,
                       moment_words);
    const State before = State::load(all.tensor.state, at);
    State after = {};
    QT_UNROLL for (int i = 0; i < QUAD; ++i)
      if (i < at.count)
        after.put(i, weight(all, start + i, before.code(i), words[i], moment_words[i], counts));
    after.store(all.tensor.state, at);
  }

  // Whether weights may go GROUP at a time.
  static QT_DEVICE bool is_wide(const Shared &all) {
    const Tensor &t = all.tensor;
    const uint64_t first = uint64_t(t.offset), last = first + uint64_t(t.count) - 1;
    bool wide = is_tame(all.launch.spec) && is_tame(all.scalars);
    wide = wide && first % QUAD == 0 && first >> 34 == last >> 34;
    wide = wide && !t.increment && Codes::aligned(t.state);
    constexpr uint32_t by = sizeof(typename Moment::Stored) == 1 ? 8 : 16;
    if (moments > 0) wide = wide && divisible(t.first, by);
    if (moments > 1) wide = wide && divisible(t.second, by);
    return wide;
  }

  // The words of the quads at start and start + gap.
  static QT_DEVICE void draw(const Shared &all, Stream stream, uint32_t start, uint32_t out[GROUP]) {
    const uint64_t block = uint64_t(all.tensor.offset) / QUAD;
    const uint32_t low = uint32_t(block) + start / QUAD, high = counter_high(block, stream);
    QT_UNROLL for (uint32_t k = 0; k < 2; ++k) {
      Words w = philox(low + k * (gap / QUAD), high, all.iteration, all.tensor.tensor, all.launch.seed);
      QT_UNROLL for (int i = 0; i < QUAD; ++i) out[QUAD * k + i] = w.lane[i];
    }
  }

  // Writes the moments of the quads at start and start + gap.
  static QT_DEVICE void keep(const Shared &all, uint32_t start, const float m[GROUP], const float v[GROUP]) {
    uint32_t words[GROUP] = {}, high[GROUP], low[GROUP];
    if constexpr (rounds) draw(all, STREAM_MOMENT, start, words);
    QT_UNROLL for (int i = 0; i < GROUP; ++i) high[i] = words[i] >> 16, low[i] = words[i] & 0xffffu;
    Row<Moment, gap> first, second;
    if constexpr (moments > 0) first.encode(m, high), first.store(all.tensor.first, start);
    if constexpr (moments > 1) second.encode(v, low), second.store(all.tensor.second, start);
  }

  // The quads at start and start + gap; or false, and nothing is done, if one weight is not tame.
  static QT_DEVICE bool group(const Shared &all, const Tame &spec, bool vectors, float limit,
                              uint32_t start, uint32_t &counts) {
    const Tensor &t = all.tensor;
    Codes before = {}, after = {};
    Row<Gradient, gap> gradient;
    Row<Moment, gap> first, second;
    before.load(t.state, start);
    if constexpr (moments > 0) first.load(t.first, start);
    if constexpr (moments > 1) second.load(t.second, start);
    if (vectors)
      gradient.load(t.gradient, start);
    else
      gradient.load_each(t.gradient, start);

    float increment[GROUP], m[GROUP] = {}, v[GROUP] = {};
    gradient.decode(increment);
    if (all.gains.first) all.gains.template scale<gap>(start, increment);
    if constexpr (moments > 0) first.decode(m);
    if constexpr (moments > 1) second.decode(v);
    Extremes numbers, increments;
    QT_UNROLL for (int i = 0; i < GROUP; ++i) {
      if constexpr (moments == 0) numbers.add(increment[i]);
      increment[i] = Optimiser::template increment<Known>(all.scalars, increment[i], m[i], v[i]);
      if constexpr (moments > 0) numbers.add(m[i]);
      if constexpr (moments > 1) numbers.add(v[i]), increments.add(increment[i]);
    }
    if (!before.legal() || !numbers.within(limit) || !increments.within(tame_reach(spec))) return false;

    if constexpr (!forgets<Rule>) keep(all, start, m, v);
    uint32_t words[GROUP];
    draw(all, STREAM_MOVE, start, words);
    after.middle = before.middle = centre(spec);
    QT_UNROLL for (int i = 0; i < GROUP; ++i) {
      const int32_t index = before.index(i), next = step<Rule>(spec, index, increment[i], words[i]);
      if (forgets<Rule> && next != index) m[i] = 0.0f;
      after.put(i, next);
    }
    if constexpr (forgets<Rule>) keep(all, start, m, v);
    counts += after.moved(before);
    after.store(t.state, start);
    return true;
  }

  static QT_DEVICE uint32_t steps(const Shared &all) {
    const Tame spec = tamed(all.launch.spec);
    const bool wide = is_wide(all), vectors = divisible(all.tensor.gradient, 16);
    const float limit = Optimiser::limit(all.scalars, tame_reach(spec));
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, count = uint32_t(all.tensor.count);
    uint32_t counts = 0;
    QT_LOOP for (uint32_t span = warp * 32 * GROUP; span < count; span += THREADS * GROUP) {
      const uint32_t start = span + lane * (gap == QUAD ? GROUP : QUAD);
      if constexpr (!calls<Rule>)
        if (wide && start + gap + QUAD <= count && group(all, spec, vectors, limit, start, counts)) continue;
      QT_LOOP for (uint32_t k = 0; k < 2; ++k) quad(all, start + k * gap, counts);
    }
    return counts;
  }
};

template <class Step>
QT_DEVICE void step_chunk(const Launch &launch, const Tensor *tensors, int32_t count,
                          const Scalars *scalars, const int64_t *iteration, Counters *counters) {
  const Chunk chunk = chunk_of(tensors, count);
  const int64_t begin = int64_t(chunk.number) * CHUNK;
  const Tensor tensor = tensors[chunk.tensor];
  const int64_t left = tensor.count - begin;
  const int32_t size = int32_t(left < CHUNK ? left : CHUNK);
  const Gains gains = Gains::of(tensor, begin, size);
  const Shared all = {launch, Step::part(tensor, begin, size), gains, *scalars, uint32_t(*iteration)};
  add_counts(counters ? counters + chunk.tensor : nullptr, Step::steps(all));
}

}  // namespace qt
