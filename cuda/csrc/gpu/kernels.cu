// GPU kernels. Each takes all tensors of an optimiser step at once; every number comes from the
// headers one folder up, here are only the grid, the loads and the counting.
//
// Numbers that change from one iteration to the next (scalars, iteration) are read from device
// memory, so a captured graph replays correctly. No result depends on the grid: only integers are
// added, in whatever order.
#include "../abi.h"
#include "../philox.h"
#include "../scalars.h"
#include "../storage.h"
#include "group.h"
#include "registry.h"

// resident: how many blocks share a multiprocessor, which bounds the registers of a thread.
#define QT_KERNEL(resident) extern "C" __global__ void __launch_bounds__(qt::THREADS, resident)

namespace qt {

// The part of a launch that a block takes: weights number * CHUNK and on of a tensor.
struct Chunk {
  int32_t tensor;
  uint32_t number;
};

// The chunk of this block. Behind the rows of the table is, for each, how many chunks are before it.
QT_DEVICE Chunk chunk_of(const Tensor *tensors, int32_t count) {
  const uint32_t *before = (const uint32_t *)(tensors + count);
  int32_t low = 0, high = count;  // it is of a tensor in low .. high - 1
  QT_LOOP while (high - low > 1) {
    const int32_t middle = (low + high) / 2;
    (before[middle] <= blockIdx.x ? low : high) = middle;
  }
  return Chunk{low, blockIdx.x - before[low]};
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

// Moments of a group, updated and rounded to how they are stored.
struct Moments {
  Reals raw[2];
  float value[2][GROUP];
};

template <class Optimiser>
QT_DEVICE void load_moments(const Tensor &tensor, int32_t type, const Range &at, Moments &m) {
  if (Optimiser::moments > 0) m.raw[0] = load_reals(tensor.first, type, at);
  if (Optimiser::moments > 1) m.raw[1] = load_reals(tensor.second, type, at);
}

template <class Optimiser>
QT_DEVICE void store_moments(const Launch &launch, const Tensor &tensor, uint32_t iteration,
                             const Range &at, const Moments &m) {
  if (Optimiser::moments == 0) return;
  void *const base[2] = {tensor.first, tensor.second};
  uint32_t words[GROUP] = {};
  if (launch.moment_type == REAL_BFLOAT16)
    words_of_group(launch.seed, iteration, tensor.tensor, STREAM_MOMENT,
                   uint64_t(tensor.offset + at.start), words);
  QT_UNROLL for (int which = 0; which < Optimiser::moments; ++which) {
    uint32_t x[GROUP];
    QT_UNROLL for (int i = 0; i < GROUP; ++i) {
      float value = m.value[which][i];
      uint32_t random = which == 0 ? words[i] >> 16 : words[i] & 0xffffu;
      x[i] = launch.moment_type == REAL_FLOAT32 ? bits(value) : round_stochastically(value, random);
    }
    store_reals(base[which], launch.moment_type, at, x);
  }
}

// Increments of a group, from gradients and moments; moments are updated.
template <class Optimiser>
QT_DEVICE void make_increments(const Launch &launch, const Tensor &tensor, const Scalars &scalars,
                               uint32_t iteration, const Range &at, float increment[GROUP]) {
  Moments m;
  const Reals gradient = load_reals(tensor.gradient, launch.gradient_type, at);
  load_moments<Optimiser>(tensor, launch.moment_type, at, m);
  decode_reals(gradient, launch.gradient_type, increment);
  QT_UNROLL for (int which = 0; which < Optimiser::moments; ++which)
    decode_reals(m.raw[which], launch.moment_type, m.value[which]);
  QT_UNROLL for (int i = 0; i < GROUP; ++i)
    increment[i] = Optimiser::increment(scalars, increment[i], m.value[0][i], m.value[1][i]);
  if (tensor.increment) {
    uint32_t x[GROUP];
    QT_UNROLL for (int i = 0; i < GROUP; ++i) x[i] = bits(increment[i]);
    store_reals(tensor.increment, REAL_FLOAT32, at, x);
  }
  store_moments<Optimiser>(launch, tensor, iteration, at, m);
}

// Optimiser and move for the weights of a group. The counts go to the low and high halves of
// `counts`: weights that changed level, and increments that were not numbers.
template <class Rule, class Optimiser, class State>
QT_DEVICE void step_group(const Launch &launch, const Tensor &tensor, const Scalars &scalars,
                          uint32_t iteration, const Range &at, uint32_t &counts) {
  const State before = State::load(tensor.state, at);
  State after = {};
  float increment[GROUP];
  uint32_t words[GROUP];
  make_increments<Optimiser>(launch, tensor, scalars, iteration, at, increment);
  words_of_group(launch.seed, iteration, tensor.tensor, STREAM_MOVE,
                 uint64_t(tensor.offset + at.start), words);
  QT_UNROLL for (int i = 0; i < GROUP; ++i) {
    const int32_t index = before.code(i) + centre(launch.spec);
    const int32_t next = step<Rule>(launch.spec, index, increment[i], words[i]);
    if (i >= at.count) continue;
    counts += uint32_t(next != index) | uint32_t(increment[i] != increment[i]) << 16;
    after.put(i, next - centre(launch.spec));
  }
  after.store(tensor.state, at);
}

template <class Rule, class Optimiser, class State>
QT_DEVICE void step_chunk(const Launch &launch, const Tensor *tensors, int32_t count,
                          const Scalars *scalars, const int64_t *iteration, Counters *counters) {
  const Chunk chunk = chunk_of(tensors, count);
  const Tensor tensor = tensors[chunk.tensor];
  QT_GLOBAL(tensor.state);
  QT_GLOBAL(tensor.gradient);
  QT_GLOBAL(tensor.first);
  QT_GLOBAL(tensor.second);
  QT_GLOBAL(tensor.increment);
  const Scalars numbers = *scalars;
  const uint32_t now = uint32_t(*iteration);
  const bool aligned = State::aligned(tensor.state) && divisible(tensor.gradient, 16) &&
                       divisible(tensor.first, 16) && divisible(tensor.second, 16) &&
                       divisible(tensor.increment, 16);
  const int64_t begin = int64_t(chunk.number) * CHUNK;
  const int64_t end = tensor.count - begin < CHUNK ? tensor.count : begin + CHUNK;
  uint32_t counts = 0;
  QT_LOOP for (int64_t start = begin + threadIdx.x * GROUP; start < end; start += THREADS * GROUP)
    step_group<Rule, Optimiser, State>(launch, tensor, numbers, now, range(start, end, aligned), counts);
  add_counts(counters ? counters + chunk.tensor : nullptr, counts);
}

template <class State>
QT_DEVICE void decode_group(const float *levels, int32_t size, const void *state, const Range &at,
                            int32_t type, void *out) {
  const State codes = State::load(state, at);
  uint32_t x[GROUP];
  QT_UNROLL for (int i = 0; i < GROUP; ++i) {
    const int32_t index = codes.code(i) + size / 2;
    const uint32_t b = index >= 0 && index < size ? bits(levels[index]) : 0u;
    x[i] = type == REAL_FLOAT32 ? b : nearest_bfloat16(b);
  }
  store_reals(out, type, at, x);
}

// Bytes of a table that travel with a launch itself: a copy that needs no buffer on the host and
// takes its place in the stream, or in a graph that is being captured.
struct Payload {
  uint64_t part[448];
};

}  // namespace qt

// ---- kernels: names and argument lists are the contract with qcuda/kernels/gpu/launch.py ----

#define QT_STEP_KERNEL(rule, optimiser, storage)                                               \
  QT_KERNEL(qt::optimiser::moments > 1 ? 2 : 3)                                                \
  qt_step_##rule##_##optimiser##_##storage(                                                    \
      const qt::Launch launch, const qt::Tensor *tensors, int32_t count,                       \
      const qt::Scalars *scalars, const int64_t *iteration, qt::Counters *counters) {          \
    qt::step_chunk<qt::rule, qt::optimiser, qt::storage>(launch, tensors, count, scalars,      \
                                                         iteration, counters);                 \
  }
#define QT_EACH_STORAGE(rule, optimiser) \
  QT_STEP_KERNEL(rule, optimiser, int8) QT_STEP_KERNEL(rule, optimiser, trits)
#define QT_STEP_KERNELS(rule) QT_OPTIMISERS_OF(QT_EACH_STORAGE, rule)

// A run-time compiler makes what is needed at the moment: one step kernel (QT_ONE_STEP is its rule,
// optimiser and storage), the stairs (QT_STAIRS) or the others (QT_HELPERS). Without any, all.
#if defined(QT_ONE_STEP)
#define QT_STEP_KERNEL_OF(...) QT_STEP_KERNEL(__VA_ARGS__)
QT_STEP_KERNEL_OF(QT_ONE_STEP)
#elif !defined(QT_STAIRS) && !defined(QT_HELPERS)
QT_ALGORITHMS(QT_STEP_KERNELS)
#endif

#if !defined(QT_ONE_STEP) && !defined(QT_HELPERS)
#include "stairs.h"
#endif

#if !defined(QT_ONE_STEP) && !defined(QT_STAIRS)

// The scalars of the iteration that begins now, which is counted; found_inf may be null. One thread.
QT_KERNEL(3) qt_scalars(int32_t optimiser, const qt::Numbers *numbers, int64_t *iteration,
                        const float *found_inf, qt::Scalars *scalars) {
  if (threadIdx.x == 0) qt::next_scalars(optimiser, *numbers, *iteration, found_inf, *scalars);
}

// The words of elements first .. first + count - 1.
QT_KERNEL(3) qt_words(uint64_t seed, const int64_t *iteration, uint32_t tensor, uint32_t stream,
                   int64_t first, int64_t count, uint32_t *out) {
  using namespace qt;
  const int64_t start = (int64_t(blockIdx.x) * THREADS + threadIdx.x) * GROUP;
  if (start >= count) return;
  const Range at = range(start, count, divisible(out, 16));
  uint32_t words[GROUP];
  words_of_group(seed, uint32_t(*iteration), tensor, Stream(stream), uint64_t(first + start),
                 words);
  store_reals(out, REAL_FLOAT32, at, words);
}

// Visible weights: levels[index], as float32 or (rounded to nearest, ties to even) bfloat16.
// A code off the lattice reads as 0.
QT_KERNEL(3) qt_decode(int32_t storage, const float *levels, int32_t size, const void *state,
                    int64_t count, void *out, int32_t type) {
  using namespace qt;
  const int64_t start = (int64_t(blockIdx.x) * THREADS + threadIdx.x) * GROUP;
  if (start >= count) return;
  if (storage == STORAGE_INT8)
    decode_group<int8>(levels, size, state,
                       range(start, count, int8::aligned(state) && divisible(out, 16)), type, out);
  else
    decode_group<trits>(levels, size, state,
                        range(start, count, trits::aligned(state) && divisible(out, 16)), type, out);
}

// For each weight its destinations, and the thresholds between them, one less.
QT_KERNEL(3) qt_outcomes(const qt::Launch launch, const int8_t *codes, const float *increments,
                      int64_t count, uint64_t *thresholds, int32_t *destinations) {
  using namespace qt;
  const int64_t i = int64_t(blockIdx.x) * THREADS + threadIdx.x;
  if (i >= count) return;
  int32_t rule = 0;
#define QT_OUTCOMES(name)                                                             \
  if (launch.rule == rule++) {                                                        \
    const int64_t places = name::destinations(launch.spec);                           \
    tell_outcomes<name>(launch.spec, codes[i] + centre(launch.spec), increments[i],   \
                        thresholds + i * (places - 1), destinations + i * places);    \
  }
  QT_ALGORITHMS(QT_OUTCOMES)
#undef QT_OUTCOMES
}

// Copies the first `count` numbers of a launch's payload to device memory.
QT_KERNEL(3) qt_put(const qt::Payload payload, int32_t count, uint64_t *out) {
  for (int32_t i = int32_t(threadIdx.x); i < count; i += qt::THREADS) out[i] = payload.part[i];
}

#endif  // helpers
