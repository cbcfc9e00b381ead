// Mean squares on a GPU: a warp sums the squares of a part, then a thread adds the parts of a row.
#pragma once

#include "../squares.h"
#include "wide.h"

namespace qt {

// Parts, and rows, of a block.
constexpr int WARPS = THREADS / 32;
static_assert(SQUARE_LANES == 32, "a lane of a part is a lane of a warp");

// What is behind the tensors of a launch: for each how many parts are before it, then how many rows.
QT_DEVICE const uint32_t *parts_before(const Rows *tensors, int32_t count) {
  return (const uint32_t *)(tensors + count);
}

// Which part, or row, a warp takes.
QT_DEVICE uint32_t number_of_warp() { return blockIdx.x * WARPS + threadIdx.x / 32; }

template <class Gradient>
QT_DEVICE double squares_of_lane(const void *gradient, int64_t start, uint32_t count) {
  const auto *g = (const typename Gradient::Stored *)gradient + start;
  double sum = 0.0;
  QT_UNROLL_BY(16) for (uint32_t i = threadIdx.x % 32; i < count; i += 32) {
    const double x = double(read<Gradient>(g, i));
    sum += x * x;
  }
  return sum;
}

// The sum of squares of a warp's part goes to its place in `sums`.
QT_DEVICE void sum_part(const Rows *tensors, int32_t count, uint32_t parts, int32_t type, double *sums) {
  const uint32_t number = number_of_warp();
  const bool there = number < parts;  // all lanes of a block exchange what they have
  double sum = 0.0;
  if (there) {
    const uint32_t *before = parts_before(tensors, count);
    const int32_t kind = kind_of(before, count, number);
    const Rows rows = tensors[kind];
    const Parts all(rows);
    const int64_t part = number - before[kind], start = all.start(part);
    const uint32_t length = uint32_t(all.count(part));
    sum = type == REAL_FLOAT32 ? squares_of_lane<Float32>(rows.gradient, start, length)
                               : squares_of_lane<BFloat16>(rows.gradient, start, length);
  }
  QT_UNROLL for (int half = 16; half > 0; half /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, half);
  if (there && threadIdx.x % 32 == 0) sums[number] = sum;
}

// The running mean square and the gain of a warp's row. Its first lane adds; many loads are on their
// way at a time, and zeros behind the last part change no sum.
QT_DEVICE void finish_row(const Rows *tensors, int32_t count, uint32_t rows, const Scalars &scalars,
                          const double *sums) {
  constexpr int64_t AT_ONCE = 32;
  const uint32_t number = number_of_warp();
  if (number >= rows || threadIdx.x % 32 != 0) return;
  const uint32_t *parts = parts_before(tensors, count), *before = parts + count;
  const int32_t kind = kind_of(before, count, number);
  const Rows tensor = tensors[kind];
  const int64_t row = number - before[kind], of_row = Parts(tensor).of_row;
  const double *part = sums + parts[kind] + row * of_row;
  double sum = 0.0;
  QT_LOOP for (int64_t k = 0; k < of_row; k += AT_ONCE) {
    double some[AT_ONCE];
    QT_UNROLL for (int i = 0; i < AT_ONCE; ++i) some[i] = k + i < of_row ? part[k + i] : 0.0;
    QT_UNROLL for (int i = 0; i < AT_ONCE; ++i) sum += some[i];
  }
  tensor.gain[row] = next_gain(scalars, sum, tensor.row, tensor.square[row]);
}

}  // namespace qt
