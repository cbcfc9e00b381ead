// Batch norm followed by a stair on a GPU: sums of parts, the numbers of channels from them, and one
// pass over the elements. Every sum is added in the order that batch_norm.h says.
#pragma once

#include "../batch_norm.h"
#include "stairs.h"

namespace qt {

constexpr int SOME_CHANNELS = THREADS / STRANDS;  // of a block that adds parts
constexpr int AHEAD = 8;                          // loads of a thread that wait at a time

// A stair's numbers as float32, made once for a block.
struct Steps {
  float threshold[MOST_STEPS], jump[MOST_STEPS], peak[MOST_STEPS];

  QT_DEVICE void fill(const Stair &stair, double half_width) {
    QT_LOOP for (int32_t step = int32_t(threadIdx.x); step < stair.steps; step += THREADS) {
      threshold[step] = float(stair.threshold[step]), jump[step] = float(stair.jump[step]);
      peak[step] = height<float>(stair, step, half_width);
    }
    __syncthreads();
  }

  QT_DEVICE float level(const Stair &stair, float y) const {
    const float u = fold(stair.folded, y);
    float level = 0.0f + float(stair.lowest);
    QT_LOOP for (int32_t step = 0; step < stair.steps; ++step)
      level += passes(stair.up, u, threshold[step]) ? jump[step] : 0.0f;
    return finish(stair.folded, y, level);
  }

  QT_DEVICE float slope(const Stair &stair, float half_width, float y) const {
    const float u = fold(stair.folded, y);
    float slope = 0.0f;
    QT_LOOP for (int32_t step = 0; step < stair.steps; ++step)
      slope += window(stair.triangular, u, threshold[step], half_width, peak[step]);
    return slope;
  }
};

// Centre, gain and shift of a channel, and for the way back the mean of d and the slant.
struct Numbers5 {
  float centre, gain, shift, mean, slant;
};

QT_DEVICE Numbers5 numbers_of(const float *table, int64_t channels, int64_t channel, int rows) {
  const float *p = table + channel;
  return Numbers5{p[0], p[channels], p[2 * channels], rows > 3 ? p[3 * channels] : 0.0f,
                  rows > 4 ? p[4 * channels] : 0.0f};
}

// Where the elements of a thread's sum are: `count` of them, `stride` apart; and where it goes.
struct Share {
  int64_t first, stride, count, channel, to;
};

// A thread has a lane of a piece of a plane, or a column of a part; count 0 if there is none.
QT_DEVICE Share share_of(const Batch &b) {
  const int64_t thread = int64_t(blockIdx.x) * THREADS + threadIdx.x;
  const int64_t width = width_of_part(b);
  if (b.planes) {
    const int64_t unit = thread / LANES, lane = thread % LANES, pieces = pieces_of_plane(b);
    const int64_t row = unit / pieces, begin = unit % pieces * PLANE_PIECE;
    if (row >= b.rows) return Share{0, 0, 0, 0, 0};
    const int64_t length = smaller(PLANE_PIECE, b.columns - begin);
    const int64_t channel = row % b.channels;
    const int64_t part = row / b.channels * pieces + unit % pieces;
    return Share{row * b.columns + begin + lane, LANES, (length - lane + LANES - 1) / LANES, channel,
                 part * 2 * width + channel};
  }
  const int64_t part = thread / b.columns, column = thread % b.columns;
  const int64_t begin = part * rows_of_part(b);
  if (begin >= b.rows) return Share{0, 0, 0, 0, 0};
  return Share{begin * b.columns + column, b.columns, smaller(rows_of_part(b), b.rows - begin),
               column / (b.columns / b.channels), part * 2 * width + column};
}

// The sums of a and of a b of all parts, where make(element, a, b, there) reads an element if it is
// there. Every thread of a block gets here.
template <class Make>
QT_DEVICE void sum_parts(const Batch &batch, const Share &share, double *partial, const Make &make) {
  double first = 0.0, second = 0.0;
  QT_LOOP for (int64_t i = 0; i < share.count; i += AHEAD) {
    float a[AHEAD], b[AHEAD];
    QT_UNROLL for (int k = 0; k < AHEAD; ++k)
      make(share.first + (i + k) * share.stride, i + k < share.count, a[k], b[k]);
    QT_UNROLL for (int k = 0; k < AHEAD; ++k) if (i + k < share.count) {
      first += double(a[k]);
      second += double(a[k]) * double(b[k]);
    }
  }
  if (batch.planes) {
    __shared__ double lanes[2][THREADS];
    const int t = int(threadIdx.x), lane = t % LANES;
    lanes[0][t] = first, lanes[1][t] = second;
    __syncthreads();
    QT_LOOP for (int half = LANES / 2; half > 0; half /= 2) {
      if (lane < half) lanes[0][t] += lanes[0][t + half], lanes[1][t] += lanes[1][t + half];
      __syncthreads();
    }
    if (lane) return;
    first = lanes[0][t], second = lanes[1][t];
  }
  if (!share.count) return;
  partial[share.to] = first;
  partial[share.to + width_of_part(batch)] = second;
}

// body(channel, sum, sum) once for each channel, of its parts.
template <class Body>
QT_DEVICE void add_parts(const Batch &batch, const double *partial, const Body &body) {
  __shared__ double strands[2][THREADS];
  const int t = int(threadIdx.x), strand = t / SOME_CHANNELS;
  const int64_t channel = int64_t(blockIdx.x) * SOME_CHANNELS + t % SOME_CHANNELS;
  const int64_t width = width_of_part(batch), length = width / batch.channels;
  const int64_t items = parts_of(batch) * length;
  double sum[2] = {0.0, 0.0};
  if (channel < batch.channels) {
    QT_LOOP for (int64_t item = strand; item < items; item += STRANDS * AHEAD) {
      double some[2][AHEAD];
      QT_UNROLL for (int k = 0; k < AHEAD; ++k) {
        const int64_t at = item + k * STRANDS, part = at / length;
        const double *from = partial + part * 2 * width + channel * length + at % length;
        some[0][k] = at < items ? from[0] : 0.0, some[1][k] = at < items ? from[width] : 0.0;
      }
      QT_UNROLL for (int k = 0; k < AHEAD; ++k) if (item + k * STRANDS < items) {
        sum[0] += some[0][k], sum[1] += some[1][k];
      }
    }
  }
  strands[0][t] = sum[0], strands[1][t] = sum[1];
  __syncthreads();
  QT_LOOP for (int half = STRANDS / 2; half > 0; half /= 2) {
    const int other = t + half * SOME_CHANNELS;
    if (strand < half) strands[0][t] += strands[0][other], strands[1][t] += strands[1][other];
    __syncthreads();
  }
  if (strand == 0 && channel < batch.channels) body(channel, strands[0][t], strands[1][t]);
}

// body(range, numbers) for each GROUP of elements of a block, numbers[i] being those of element i.
template <class Body>
QT_DEVICE void for_groups(const Batch &batch, const float *table, int rows, bool aligned,
                          const Body &body) {
  const int64_t count = batch.rows * batch.columns, c = batch.channels;
  const int64_t length = batch.planes ? batch.columns : batch.columns / c;
  const int64_t begin = int64_t(blockIdx.x) * CHUNK;
  const int64_t end = count - begin < CHUNK ? count : begin + CHUNK;
  QT_LOOP for (int64_t start = begin + threadIdx.x * GROUP; start < end; start += THREADS * GROUP) {
    int64_t channel, within;
    if (count < int64_t{1} << 32) {  // a quarter of the instructions
      channel = uint32_t(start) / uint32_t(length) % uint32_t(c);
      within = uint32_t(start) % uint32_t(length);
    } else {
      channel = start / length % c, within = start % length;
    }
    Numbers5 numbers[GROUP];
    QT_UNROLL for (int i = 0; i < GROUP; ++i) {
      if (i == 0 || within == 0)
        numbers[i] = numbers_of(table, c, channel, rows);
      else
        numbers[i] = numbers[i - 1];
      if (++within == length) within = 0, channel = channel + 1 == c ? 0 : channel + 1;
    }
    body(range(start, end, aligned), numbers);
  }
}

template <class As>
QT_DEVICE void stair_of_batch(const Stair &stair, const Batch &batch, const float *table,
                              const void *x, void *z) {
  __shared__ Steps steps;
  steps.fill(stair, 1.0);
  for_groups(batch, table, 3, divisible(x, 16) && divisible(z, 16),
             [&](const Range &at, const Numbers5 *n) {
               float value[GROUP];
               load_numbers<As>(x, at, value);
               QT_UNROLL for (int i = 0; i < GROUP; ++i)
                 value[i] = steps.level(
                     stair, normalised(value[i] - n[i].centre, n[i].gain, n[i].shift));
               store_numbers<As>(z, at, value);
             });
}

template <class As>
QT_DEVICE void back_sums(const Stair &stair, const Batch &batch, const double *half_width,
                         const float *table, const void *x, const void *gradient, double *partial) {
  using Stored = typename As::Stored;
  __shared__ Steps steps;
  steps.fill(stair, *half_width);
  const float a = float(*half_width);
  const Share share = share_of(batch);
  const Numbers5 n = numbers_of(table, batch.channels, share.channel, 3);
  sum_parts(batch, share, partial, [&](int64_t at, bool there, float &d, float &deviation) {
    d = deviation = 0.0f;
    if (!there) return;
    deviation = As::load(((const Stored *)x)[at]) - n.centre;
    const float y = normalised(deviation, n.gain, n.shift);
    d = steps.slope(stair, a, y) * As::load(((const Stored *)gradient)[at]);
  });
}

template <class As>
QT_DEVICE void slope_of_batch(const Stair &stair, const Batch &batch, const double *half_width,
                              const float *table, const void *x, const void *gradient, void *out) {
  __shared__ Steps steps;
  steps.fill(stair, *half_width);
  const float a = float(*half_width);
  const bool aligned = divisible(x, 16) && divisible(gradient, 16) && divisible(out, 16);
  for_groups(batch, table, 5, aligned, [&](const Range &at, const Numbers5 *n) {
    float value[GROUP], g[GROUP];
    load_numbers<As>(x, at, value);
    load_numbers<As>(gradient, at, g);
    QT_UNROLL for (int i = 0; i < GROUP; ++i) {
      const float deviation = value[i] - n[i].centre;
      const float d =
          steps.slope(stair, a, normalised(deviation, n[i].gain, n[i].shift)) * g[i];
      value[i] = returned(d, deviation, n[i].mean, n[i].slant, n[i].gain);
    }
    store_numbers<As>(out, at, value);
  });
}

}  // namespace qt

// Names end with the type of number. `partial`: two float64 for each column of each part.
#define QT_BATCH_KERNELS(type, As)                                                              \
  QT_KERNEL(3) qt_batch_sums_##type(const qt::Batch batch, int64_t *batches, const void *x,     \
                                    double *partial) {                                          \
    if (batches && blockIdx.x == 0 && threadIdx.x == 0) *batches += 1;                          \
    qt::sum_parts(batch, qt::share_of(batch), partial,                                          \
                  [&](int64_t at, bool there, float &a, float &b) {                             \
                    a = b = there ? qt::As::load(((const qt::As::Stored *)x)[at]) : 0.0f;       \
                  });                                                                           \
  }                                                                                             \
  QT_KERNEL(3) qt_batch_stair_##type(const qt::Stair stair, const qt::Batch batch,              \
                                     const float *table, const void *x, void *z) {              \
    qt::stair_of_batch<qt::As>(stair, batch, table, x, z);                                      \
  }                                                                                             \
  QT_KERNEL(3) qt_batch_back_sums_##type(                                                       \
      const qt::Stair stair, const qt::Batch batch, const double *half_width,                   \
      const float *table, const void *x, const void *gradient, double *partial) {               \
    qt::back_sums<qt::As>(stair, batch, half_width, table, x, gradient, partial);               \
  }                                                                                             \
  QT_KERNEL(2) qt_batch_slope_##type(const qt::Stair stair, const qt::Batch batch,              \
                                     const double *half_width, const float *table,              \
                                     const void *x, const void *gradient, void *out) {          \
    qt::slope_of_batch<qt::As>(stair, batch, half_width, table, x, gradient, out);              \
  }
#define QT_BATCH_TYPES(X) X(float32, AsFloat32) X(bfloat16, AsBFloat16) X(float16, AsFloat16)

QT_BATCH_TYPES(QT_BATCH_KERNELS)

// Mean and 1 / std of each channel from the sums of its parts; running numbers are moved.
QT_KERNEL(3) qt_batch_measured(const qt::Batch batch, const qt::Norm norm, const double *partial,
                               double *sums, float *statistics) {
  qt::add_parts(batch, partial, [&](int64_t channel, double sum, double squares) {
    const int64_t c = batch.channels;
    sums[channel] = sum, sums[c + channel] = squares;
    qt::measure_channel(batch, norm, channel, norm.batches ? double(*norm.batches) : 1.0, sum,
                        squares, statistics + channel, statistics + c + channel);
  });
}

// Rows of C numbers: centre, gain, shift, and two of 0.
QT_KERNEL(3) qt_batch_table(const qt::Batch batch, const qt::Norm norm, const float *statistics,
                            float *table) {
  const int64_t channel = int64_t(blockIdx.x) * qt::THREADS + threadIdx.x, c = batch.channels;
  if (channel >= c) return;
  table[channel] = statistics[channel];
  table[c + channel] = qt::gain_of(norm, channel, statistics[c + channel]);
  table[2 * c + channel] = qt::shift_of(norm, channel);
  table[3 * c + channel] = table[4 * c + channel] = 0.0f;
}

// Slopes of weight and bias from the sums of parts, and the last two rows of the table if `of_batch`.
QT_KERNEL(3) qt_batch_returned(const qt::Batch batch, int32_t of_batch, const double *partial,
                               const float *statistics, double *sums, float *slopes, float *table) {
  qt::add_parts(batch, partial, [&](int64_t channel, double sum, double product) {
    const int64_t c = batch.channels;
    float mean, slant;
    sums[channel] = sum, sums[c + channel] = product;
    qt::return_channel(batch, statistics[c + channel], sum, product, slopes + channel,
                       slopes + c + channel, &mean, &slant);
    if (of_batch) table[3 * c + channel] = mean, table[4 * c + channel] = slant;
  });
}
