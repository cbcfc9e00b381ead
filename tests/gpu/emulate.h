// CUDA on the host, for tests: the very kernels run here thread by thread under g++.
//
// Each thread of a block is a fibre with its own stack. It runs until it reaches a barrier or an
// exchange between lanes, then the next one does, so shared memory and lane exchanges mean what
// they mean on a GPU as long as all threads of the block reach them. Blocks run one after another.
// Not emulated: races, the memory model, alignment faults (the sanitiser finds those), machine code.
#pragma once

#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include <functional>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define EMULATION_LEAVE(keep, bottom, size) __sanitizer_start_switch_fiber(keep, bottom, size)
#define EMULATION_ARRIVE(kept, bottom, size) __sanitizer_finish_switch_fiber(kept, bottom, size)
#else
#define EMULATION_LEAVE(keep, bottom, size) ((void)(keep))
#define EMULATION_ARRIVE(kept, bottom, size) ((void)(kept))
#endif

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __shared__ static
#define __launch_bounds__(...)

namespace emulation {

struct Three {
  unsigned x = 1, y = 1, z = 1;
};

struct Fibre {
  ucontext_t start;
  jmp_buf here;
  bool started = false, ended = false;
  void *sanitiser = nullptr;
};

struct Grid {
  Three thread, block, threads, blocks;
  std::vector<Fibre> fibres;
  std::vector<char> stacks;
  std::vector<uint64_t> exchanged;
  const std::function<void()> *body = nullptr;
  jmp_buf scheduler;
  const void *bottom = nullptr;  // of the scheduler's stack, and its size
  size_t size = 0;
};

inline Grid grid;
constexpr size_t STACK = 64 << 10;

// From a fibre back to the scheduler.
inline void leave(Fibre &fibre) {
  EMULATION_LEAVE(fibre.ended ? nullptr : &fibre.sanitiser, grid.bottom, grid.size);
  _longjmp(grid.scheduler, 1);
}

// What a fibre does: the kernel's body, then back to the scheduler for good.
inline void run_body() {
  EMULATION_ARRIVE(nullptr, &grid.bottom, &grid.size);
  (*grid.body)();
  grid.fibres[grid.thread.x].ended = true;
  leave(grid.fibres[grid.thread.x]);
}

inline void resume(unsigned thread) {
  Fibre &fibre = grid.fibres[thread];
  grid.thread.x = thread;
  static void *kept;
  if (_setjmp(grid.scheduler)) {
    EMULATION_ARRIVE(kept, nullptr, nullptr);
    return;
  }
  EMULATION_LEAVE(&kept, fibre.start.uc_stack.ss_sp, STACK);
  if (fibre.started) _longjmp(fibre.here, 1);
  fibre.started = true;
  setcontext(&fibre.start);
}

// A barrier, seen from a fibre: let all others come this far.
inline void wait() {
  Fibre &fibre = grid.fibres[grid.thread.x];
  if (!_setjmp(fibre.here)) leave(fibre);
  EMULATION_ARRIVE(grid.fibres[grid.thread.x].sanitiser, &grid.bottom, &grid.size);
}

inline void run_block() {
  const unsigned threads = grid.threads.x;
  for (unsigned t = 0; t < threads; ++t) {
    Fibre &fibre = grid.fibres[t];
    fibre.started = fibre.ended = false;
    getcontext(&fibre.start);
    fibre.start.uc_stack.ss_sp = grid.stacks.data() + t * STACK;
    fibre.start.uc_stack.ss_size = STACK;
    fibre.start.uc_link = nullptr;
    makecontext(&fibre.start, run_body, 0);
  }
  for (unsigned ended = 0; ended < threads;) {
    ended = 0;
    for (unsigned t = 0; t < threads; ++t) {
      if (!grid.fibres[t].ended) resume(t);
      ended += grid.fibres[t].ended;
    }
    if (ended != 0 && ended != threads)
      throw std::logic_error("all threads of a block reach the same barriers");
  }
}

// Runs `body` once for every thread of a one-dimensional grid.
inline void run(unsigned blocks, unsigned threads, const std::function<void()> &body) {
  grid.threads.x = threads;
  grid.blocks.x = blocks;
  grid.fibres.resize(threads);
  grid.stacks.resize(threads * STACK);
  grid.exchanged.resize(threads);
  grid.body = &body;
  for (unsigned block = 0; block < blocks; ++block) {
    grid.block.x = block;
    run_block();
  }
}

template <class... A, size_t... I>
std::function<void()> copy_arguments(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
  auto copies = std::make_tuple(*(const A *)arguments[I]...);
  return [kernel, copies] { std::apply(kernel, copies); };
}

// A kernel with its arguments copied, as a driver does when it is given pointers to them.
template <class... A>
std::function<void()> with_arguments(void (*kernel)(A...), void **arguments) {
  return copy_arguments(kernel, arguments, std::index_sequence_for<A...>{});
}

}  // namespace emulation

#define threadIdx emulation::grid.thread
#define blockIdx emulation::grid.block
#define blockDim emulation::grid.threads
#define gridDim emulation::grid.blocks

inline void __syncthreads() { emulation::wait(); }

template <class Number>
Number __shfl_xor_sync(uint32_t, Number value, int lanes) {
  const unsigned thread = threadIdx.x;
  Number other;
  memcpy(&emulation::grid.exchanged[thread], &value, sizeof value);
  emulation::wait();
  memcpy(&other, &emulation::grid.exchanged[thread ^ unsigned(lanes)], sizeof other);
  emulation::wait();
  return other;
}

inline unsigned long long atomicAdd(unsigned long long *address, unsigned long long value) {
  const unsigned long long before = *address;
  *address = before + value;
  return before;
}
