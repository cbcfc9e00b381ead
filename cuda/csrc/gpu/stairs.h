// Stairs as activations on a GPU: a thread takes GROUP elements at a time, 16 bytes a load. What is
// kept for the backward pass is as in cpu/stairs.h.
#pragma once

#include "../stair.h"
#include "group.h"

namespace qt {

QT_DEVICE double real64(uint32_t low, uint32_t high) {
#if defined(__CUDA_ARCH__)
  return __hiloint2double(int(high), int(low));
#else
  const uint64_t b = uint64_t(high) << 32 | low;
  double x;
  memcpy(&x, &b, sizeof x);
  return x;
#endif
}

QT_DEVICE uint64_t bits64(double x) {
#if defined(__CUDA_ARCH__)
  return uint64_t(__double_as_longlong(x));
#else
  uint64_t b;
  memcpy(&b, &x, sizeof b);
  return b;
#endif
}

// GROUP numbers as they lie in memory, in 32-bit parts.
template <class As>
struct Lane {
  static constexpr int parts = GROUP * int(sizeof(typename As::Stored)) / 4;
  uint32_t part[parts];
};

QT_DEVICE float number(AsFloat32, const uint32_t *part, int i) { return real(part[i]); }
QT_DEVICE double number(AsFloat64, const uint32_t *part, int i) {
  return real64(part[2 * i], part[2 * i + 1]);
}
template <class As>
QT_DEVICE float number(As, const uint32_t *part, int i) {
  return As::load(uint16_t(part[i / 2] >> 16 * (i & 1)));
}

QT_DEVICE void put_number(AsFloat32, uint32_t *part, int i, float x) { part[i] = bits(x); }
QT_DEVICE void put_number(AsFloat64, uint32_t *part, int i, double x) {
  part[2 * i] = uint32_t(bits64(x)), part[2 * i + 1] = uint32_t(bits64(x) >> 32);
}
// Into a group that began as zeros.
template <class As>
QT_DEVICE void put_number(As, uint32_t *part, int i, float x) {
  part[i / 2] |= uint32_t(As::store(x)) << 16 * (i & 1);
}

template <class As>
QT_DEVICE void load_numbers(const void *base, const Range &at, typename As::Number out[GROUP]) {
  using Stored = typename As::Stored;
  const Stored *p = (const Stored *)base + at.start;
  if (at.whole) {
    Lane<As> raw;
    QT_UNROLL for (int k = 0; k < Lane<As>::parts / 4; ++k) {
      const Sixteen a = ((const Sixteen *)p)[k];
      QT_UNROLL for (int i = 0; i < 4; ++i) raw.part[4 * k + i] = a.part[i];
    }
    QT_UNROLL for (int i = 0; i < GROUP; ++i) out[i] = number(As{}, raw.part, i);
  } else {
    QT_UNROLL for (int i = 0; i < GROUP; ++i)
      out[i] = i < at.count ? As::load(p[i]) : typename As::Number(0);
  }
}

template <class As>
QT_DEVICE void store_numbers(void *base, const Range &at, const typename As::Number x[GROUP]) {
  using Stored = typename As::Stored;
  Stored *p = (Stored *)base + at.start;
  if (at.whole) {
    Lane<As> raw = {};
    QT_UNROLL for (int i = 0; i < GROUP; ++i) put_number(As{}, raw.part, i, x[i]);
    QT_UNROLL for (int k = 0; k < Lane<As>::parts / 4; ++k)
      ((Sixteen *)p)[k] = Sixteen{{raw.part[4 * k], raw.part[4 * k + 1], raw.part[4 * k + 2],
                                   raw.part[4 * k + 3]}};
  } else {
    QT_UNROLL for (int i = 0; i < GROUP; ++i) if (i < at.count) p[i] = As::store(x[i]);
  }
}

// The counts of a group take `size` bytes, the first element in the lowest bits.
QT_DEVICE void load_counts(const uint8_t *base, const Range &at, int32_t size,
                           uint32_t counts[GROUP]) {
  const uint8_t *p = base + at.start / GROUP * size;
  if (size == 1) {
    QT_UNROLL for (int i = 0; i < GROUP; ++i) counts[i] = uint32_t(*p) >> i & 1u;
    return;
  }
  const int32_t bytes = (at.count * size + 7) / 8;
  uint64_t packed = 0;
  QT_UNROLL for (int b = 0; b < GROUP; ++b) if (b < bytes) packed |= uint64_t(p[b]) << 8 * b;
  QT_UNROLL for (int i = 0; i < GROUP; ++i)
    counts[i] = uint32_t(packed >> size * i) & ((1u << size) - 1u);
}

QT_DEVICE void store_counts(uint8_t *base, const Range &at, int32_t size,
                            const uint32_t counts[GROUP]) {
  uint8_t *p = base + at.start / GROUP * size;
  if (size == 1) {
    uint32_t packed = 0;
    QT_UNROLL for (int i = 0; i < GROUP; ++i) packed |= counts[i] << i;
    *p = uint8_t(packed);
    return;
  }
  const int32_t bytes = (at.count * size + 7) / 8;
  uint64_t packed = 0;
  QT_UNROLL for (int i = 0; i < GROUP; ++i) packed |= uint64_t(counts[i]) << size * i;
  QT_UNROLL for (int b = 0; b < GROUP; ++b) if (b < bytes) p[b] = uint8_t(packed >> 8 * b);
}

template <class As>
QT_DEVICE void stair_group(const Stair &stair, typename As::Number a, int32_t size, const void *x,
                           const Range &at, void *z, uint8_t *kept) {
  using F = typename As::Number;
  F value[GROUP], level[GROUP];
  load_numbers<As>(x, at, value);
  uint32_t counts[GROUP] = {};
  QT_UNROLL for (int i = 0; i < GROUP; ++i) level[i] = F(0) + F(stair.lowest);
  QT_LOOP for (int32_t step = 0; step < stair.steps; ++step) {
    const F t = F(stair.threshold[step]), jump = F(stair.jump[step]);
    QT_UNROLL for (int i = 0; i < GROUP; ++i) {
      const F u = fold(stair.folded, value[i]);
      level[i] += passes(stair.up, u, t) ? jump : F(0);
      counts[i] += uint32_t(i < at.count && within(u, t, a));
    }
  }
  QT_UNROLL for (int i = 0; i < GROUP; ++i) level[i] = finish(stair.folded, value[i], level[i]);
  store_numbers<As>(z, at, level);
  if (size) store_counts(kept, at, size, counts);
}

template <class As>
QT_DEVICE void slope_group(const Stair &stair, typename As::Number a, double half_width,
                           int32_t size, const typename As::Number *table, const void *gradient,
                           const void *kept, const Range &at, void *out) {
  using F = typename As::Number;
  F slope[GROUP];
  if (size) {
    uint32_t counts[GROUP];
    load_counts((const uint8_t *)kept, at, size, counts);
    QT_UNROLL for (int i = 0; i < GROUP; ++i) slope[i] = table[counts[i]];
  } else {
    F x[GROUP];
    load_numbers<As>(kept, at, x);
    QT_UNROLL for (int i = 0; i < GROUP; ++i) slope[i] = F(0);
    QT_LOOP for (int32_t step = 0; step < stair.steps; ++step) {
      const F t = F(stair.threshold[step]), peak = height<F>(stair, step, half_width);
      QT_UNROLL for (int i = 0; i < GROUP; ++i)
        slope[i] += window(stair.triangular, fold(stair.folded, x[i]), t, a, peak);
    }
  }
  F g[GROUP];
  load_numbers<As>(gradient, at, g);
  QT_UNROLL for (int i = 0; i < GROUP; ++i) g[i] = slope[i] * g[i];
  store_numbers<As>(out, at, g);
}

template <class As>
QT_DEVICE void stair_chunk(const Stair &stair, const double *half_width, int32_t size,
                           int64_t count, const void *x, void *z, uint8_t *kept) {
  const typename As::Number a = typename As::Number(*half_width);
  const bool aligned = divisible(x, 16) && divisible(z, 16);
  const int64_t begin = int64_t(blockIdx.x) * CHUNK;
  const int64_t end = count - begin < CHUNK ? count : begin + CHUNK;
  QT_LOOP for (int64_t start = begin + threadIdx.x * GROUP; start < end; start += THREADS * GROUP)
    stair_group<As>(stair, a, size, x, range(start, end, aligned), z, kept);
}

template <class As>
QT_DEVICE void slope_chunk(const Stair &stair, const double *half_width, int32_t size,
                           int64_t count, const void *gradient, const void *kept, void *out) {
  using F = typename As::Number;
  __shared__ F table[MOST_STEPS + 1];  // slopes of 0, 1, ... open windows
  const double a = *half_width;
  if (threadIdx.x == 0) {
    table[0] = F(0);
    QT_LOOP for (int32_t step = 0; size && step < stair.steps; ++step)
      table[step + 1] = table[step] + height<F>(stair, step, a);
  }
  __syncthreads();
  const bool aligned =
      divisible(gradient, 16) && divisible(out, 16) && (size || divisible(kept, 16));
  const int64_t begin = int64_t(blockIdx.x) * CHUNK;
  const int64_t end = count - begin < CHUNK ? count : begin + CHUNK;
  QT_LOOP for (int64_t start = begin + threadIdx.x * GROUP; start < end; start += THREADS * GROUP)
    slope_group<As>(stair, F(a), a, size, table, gradient, kept, range(start, end, aligned), out);
}

}  // namespace qt

// A stair at `count` numbers, and multiplication by its slopes. Names end with the type of number.
#define QT_STAIR_KERNELS(type, As)                                                              \
  QT_KERNEL(3) qt_stair_##type(const qt::Stair stair, int32_t size, int64_t count,              \
                               const double *half_width, const void *x, void *z, uint8_t *kept) { \
    qt::stair_chunk<qt::As>(stair, half_width, size, count, x, z, kept);                        \
  }                                                                                             \
  QT_KERNEL(3) qt_stair_slope_##type(const qt::Stair stair, int32_t size, int64_t count,        \
                                     const double *half_width, const void *gradient,            \
                                     const void *kept, void *out) {                             \
    qt::slope_chunk<qt::As>(stair, half_width, size, count, gradient, kept, out);               \
  }
#define QT_STAIR_TYPES(X) \
  X(float32, AsFloat32) X(bfloat16, AsBFloat16) X(float16, AsFloat16) X(float64, AsFloat64)
