#include "gpu/kernels.cu"

// The loop of a step as it runs almost always: aligned whole groups, offsets divisible by four,
// types known. How many instructions it has for each weight is read off its machine code.
template <class Rule, class Optimiser, class State, int GRADIENT, int MOMENT>
__device__ __forceinline__ void loop(qt::Launch launch, const qt::Tensor &tensor,
                                     const qt::Scalars &scalars, uint32_t iteration,
                                     unsigned long long *out) {
  using namespace qt;
  launch.gradient_type = GRADIENT;
  launch.moment_type = MOMENT;
  QT_GLOBAL(tensor.state);
  QT_GLOBAL(tensor.gradient);
  QT_GLOBAL(tensor.first);
  QT_GLOBAL(tensor.second);
  __builtin_assume((tensor.offset & 7) == 0);
  uint32_t counts = 0;
  const int64_t begin = int64_t(blockIdx.x) * CHUNK + threadIdx.x * GROUP;
  QT_LOOP for (int64_t start = begin; start < tensor.count; start += THREADS * GROUP) {
    __builtin_assume((start & 7) == 0);
    step_group<Rule, Optimiser, State>(launch, tensor, scalars, iteration, Range{start, GROUP, true},
                                       counts);
  }
  atomicAdd(out, (unsigned long long)counts);
}

#define LOOP(rule, optimiser, storage, gradient, moment)                                          \
  extern "C" __global__ void __launch_bounds__(256)                                               \
      loop_##rule##_##optimiser##_##storage##_##gradient##_##moment(                              \
          qt::Launch l, qt::Tensor t, const qt::Scalars s, uint32_t i, unsigned long long *o) {   \
    loop<qt::rule, qt::optimiser, qt::storage, gradient == 16, moment == 16>(l, t, s, i, o);      \
  }
LOOP(dst, sgd, trits, 16, 32)
LOOP(dst, momentum, trits, 16, 16)
LOOP(dst, momentum, int8, 32, 32)
LOOP(dst, adam, trits, 16, 16)
LOOP(dst, adam, int8, 32, 32)
LOOP(stochastic_rounding, momentum, trits, 16, 16)
LOOP(deterministic_rounding, momentum, trits, 16, 16)
