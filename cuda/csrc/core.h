// What every kernel may use: fixed-width integers, bits of floats, comparisons. No libm, no
// implicit fused multiply-add, nothing whose result depends on the machine. The file compiles
// under g++, nvcc and NVRTC (which has no standard headers).
#pragma once

#if defined(__CUDACC_RTC__)
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#else
#include <stdint.h>
#include <string.h>
#endif

#if defined(__CUDACC__)
#define QT_FN __host__ __device__ __forceinline__
#define QT_CALL __host__ __device__ __noinline__
#define QT_LOOP _Pragma("unroll 1")
#else
#define QT_FN inline __attribute__((always_inline))
#define QT_CALL inline
#define QT_LOOP
#endif

namespace qt {

// A lattice and the numbers of an algorithm, the same for all weights of a launch.
struct Spec {
  float spacing;       // distance between levels, in weight units
  float zero;          // position of the value 0, in units of the index
  int32_t size;        // number of levels
  float parameter[4];  // the algorithm's own numbers, in the order of its contract's knobs
};

QT_FN uint32_t bits(float x) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(x);
#else
  uint32_t b;
  memcpy(&b, &x, sizeof b);
  return b;
#endif
}

QT_FN float real(uint32_t b) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(b);
#else
  float x;
  memcpy(&x, &b, sizeof x);
  return x;
#endif
}

constexpr uint32_t NAN_BITS = 0x7fc00000u;

QT_FN float absolute(float x) { return real(bits(x) & 0x7fffffffu); }

// The smaller of two numbers that are not negative; b if a is NaN. Their bits have their order, and
// a GPU has one instruction for it.
QT_FN float minimum(float a, float b) {
#if defined(__CUDA_ARCH__)
  return fminf(a, b);
#else
  return real(bits(a) < bits(b) ? bits(a) : bits(b));
#endif
}

QT_FN uint32_t ones(uint32_t x) {
#if defined(__CUDA_ARCH__)
  return uint32_t(__popc(int(x)));
#else
  return uint32_t(__builtin_popcount(x));
#endif
}

// Correctly rounded, everywhere.
QT_FN float square_root(float x) {
#if defined(__CUDA_ARCH__)
  return __fsqrt_rn(x);
#else
  return __builtin_sqrtf(x);
#endif
}

QT_FN double square_root(double x) {
#if defined(__CUDA_ARCH__)
  return __dsqrt_rn(x);
#else
  return __builtin_sqrt(x);
#endif
}

}  // namespace qt
