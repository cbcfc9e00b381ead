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
#include "squares.h"
#include "step.h"

// resident: how many blocks share a multiprocessor, which bounds the registers of a thread.
// On sm_120 three blocks leave too few registers for some steps, which would spill.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1200
#define QT_STEP_BLOCKS(wanted) 2
#else
#define QT_STEP_BLOCKS(wanted) (wanted)
#endif
#define QT_KERNEL(resident) extern "C" __global__ void __launch_bounds__(qt::THREADS, resident)

namespace qt {

template <class State>
QT_DEVICE void decode_group(const float *levels, float scale, int32_t size, const void *state,
                            const Range &at, int32_t type, void *out) {
  const State codes = State::load(state, at);
  uint32_t x[GROUP];
  QT_UNROLL for (int i = 0; i < GROUP; ++i) {
    const int32_t index = codes.code(i) + size / 2;
    const bool legal = index >= 0 && index < size;
    x[i] = nearest(legal ? bits(levels[index] * scale) : NAN_BITS, type);
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

// The only list of step kernels: QT_STEP(name, rule, optimiser, storage, gradient, moment) for all of
// a rule. The name is rule_optimiser_storage_gradient, and _moment where there are moments.
#define QT_PLAIN_STEP(rule, optimiser, storage, real, Real) \
  QT_STEP(rule##_##optimiser##_##storage##_##real, rule, optimiser, storage, Real, Float32)
#define QT_MOMENT_STEP(rule, optimiser, storage, real, Real)                                         \
  QT_STEP(rule##_##optimiser##_##storage##_##real##_float32, rule, optimiser, storage, Real, Float32) \
  QT_STEP(rule##_##optimiser##_##storage##_##real##_bfloat16, rule, optimiser, storage, Real, BFloat16)
#define QT_INT8_STEP(rule, optimiser, storage, real, Real) \
  QT_STEP(rule##_##optimiser##_##storage##_##real##_int8, rule, optimiser, storage, Real, Int8)
#define QT_STORED(X, rule, optimiser)                                                        \
  X(rule, optimiser, int8, float32, Float32) X(rule, optimiser, int8, bfloat16, BFloat16)    \
  X(rule, optimiser, trits, float32, Float32) X(rule, optimiser, trits, bfloat16, BFloat16)
#define QT_PLAIN_STEPS(rule, optimiser) QT_STORED(QT_PLAIN_STEP, rule, optimiser)
#define QT_MOMENT_STEPS(rule, optimiser) QT_STORED(QT_MOMENT_STEP, rule, optimiser)
#define QT_STEPS(rule) \
  QT_PLAIN_OPTIMISERS_OF(QT_PLAIN_STEPS, rule) QT_MOMENT_OPTIMISERS_OF(QT_MOMENT_STEPS, rule)
// With moments in int8: not in the package's image, which they would make larger by a sixth for one
// base optimiser; a run-time compiler makes the one that is needed. QT_INT8_MOMENTS puts them in.
#define QT_INT8_MOMENT_STEPS(rule, optimiser) QT_STORED(QT_INT8_STEP, rule, optimiser)
#define QT_INT8_STEPS(rule) QT_ONE_MOMENT_OPTIMISERS_OF(QT_INT8_MOMENT_STEPS, rule)

#define QT_STEP(name, rule, optimiser, storage, gradient, moment)                              \
  QT_KERNEL(QT_STEP_BLOCKS(qt::optimiser::moments > 1 ? 2 : qt::rule::resident))               \
  qt_step_##name(const qt::Launch launch, const qt::Tensor *tensors, int32_t count,            \
                 const qt::Scalars *scalars, const int64_t *iteration,                         \
                 qt::Counters *counters) {                                                     \
    using Step = qt::Step<qt::rule, qt::optimiser, qt::storage, qt::gradient, qt::moment>;     \
    qt::step_chunk<Step>(launch, tensors, count, scalars, iteration, counters);                \
  }

// A run-time compiler makes what is needed at the moment: one step kernel (QT_ONE_STEP is what
// QT_STEP takes), the stairs (QT_STAIRS), those behind batch norm (QT_BATCH_NORM) or the others
// (QT_HELPERS). Without any, all but the rare.
#if !defined(QT_ONE_STEP) && !defined(QT_STAIRS) && !defined(QT_BATCH_NORM) && !defined(QT_HELPERS)
#define QT_ALL
#endif

#if defined(QT_ONE_STEP)
#define QT_STEP_OF(...) QT_STEP(__VA_ARGS__)
QT_STEP_OF(QT_ONE_STEP)
#elif defined(QT_ALL)
QT_ALGORITHMS(QT_STEPS)
#if defined(QT_INT8_MOMENTS)
QT_ALGORITHMS(QT_INT8_STEPS)
#endif
#endif
#undef QT_STEP

#include "stairs.h"
#if defined(QT_ALL) || defined(QT_STAIRS)
QT_STAIR_TYPES(QT_STAIR_KERNELS)
#endif
#if defined(QT_ALL) || defined(QT_BATCH_NORM)
#include "batch_norm.h"
#endif

#if defined(QT_ALL) || defined(QT_HELPERS)

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
  words_from<GROUP>(seed, uint32_t(*iteration), tensor, Stream(stream), uint64_t(first + start), words);
  store_reals(out, REAL_FLOAT32, at, words);
}

// Visible weights in stored order: scale * levels[index], rounded to float32 and then to the type,
// ties to even. No scale is a scale of 1. A code off the lattice reads as NaN.
QT_KERNEL(3) qt_decode(int32_t storage, const float *levels, const float *scale, int32_t size,
                       const void *state, int64_t count, void *out, int32_t type) {
  using namespace qt;
  const int64_t start = (int64_t(blockIdx.x) * THREADS + threadIdx.x) * GROUP;
  if (start >= count) return;
  const float factor = scale ? *scale : 1.0f;
  if (storage == STORAGE_INT8)
    decode_group<int8>(levels, factor, size, state,
                       range(start, count, int8::aligned(state) && divisible(out, 16)), type, out);
  else
    decode_group<trits>(levels, factor, size, state,
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

// The sums of squares of all parts of the rows of tensors, whose gradients have one type.
QT_KERNEL(3) qt_squares(const qt::Rows *tensors, int32_t count, uint32_t parts, int32_t type, double *sums) {
  qt::sum_part(tensors, count, parts, type, sums);
}

// The running mean squares and gains of all rows of tensors, from the sums of their parts.
QT_KERNEL(3) qt_gains(const qt::Rows *tensors, int32_t count, uint32_t rows, const qt::Scalars *scalars,
                      const double *sums) {
  qt::finish_row(tensors, count, rows, *scalars, sums);
}

// Copies the first `count` numbers of a launch's payload to device memory.
QT_KERNEL(3) qt_put(const qt::Payload payload, int32_t count, uint64_t *out) {
  for (int32_t i = int32_t(threadIdx.x); i < count; i += qt::THREADS) out[i] = payload.part[i];
}

#endif  // helpers
