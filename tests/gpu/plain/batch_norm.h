// The emulated kernels of batch norm and a stair on arrays of exactly their size, against plain loops
// that add in the order that batch_norm.h says.
#pragma once

#include <stdio.h>

#include <memory>
#include <vector>

#include "stairs.h"

namespace plain {

// Both sums of a channel over its elements: parts, then strands, each added in halves where lanes are.
template <class First, class Second>
void plain_sums(const Batch &b, int64_t channel, const First &a, const Second &c, double out[2]) {
  double strands[STRANDS][2] = {};
  int64_t item = 0;
  const auto add = [&](double sums[2], int64_t at) {
    sums[0] += double(a(at)), sums[1] += double(a(at)) * double(c(at));
  };
  const auto put = [&](const double sums[2]) {
    strands[item % STRANDS][0] += sums[0], strands[item % STRANDS][1] += sums[1];
    ++item;
  };
  if (b.planes) {
    for (int64_t row = channel; row < b.rows; row += b.channels)
      for (int64_t begin = 0; begin < b.columns; begin += PLANE_PIECE) {
        double lanes[LANES][2] = {};
        for (int64_t i = begin; i < smaller(b.columns, begin + PLANE_PIECE); ++i)
          add(lanes[(i - begin) % LANES], row * b.columns + i);
        for (int half = LANES / 2; half > 0; half /= 2)
          for (int lane = 0; lane < half; ++lane)
            for (int k = 0; k < 2; ++k) lanes[lane][k] += lanes[lane + half][k];
        put(lanes[0]);
      }
  } else {
    const int64_t each = b.columns / b.channels;
    for (int64_t begin = 0; begin < b.rows; begin += rows_of_part(b))
      for (int64_t column = channel * each; column < (channel + 1) * each; ++column) {
        double sums[2] = {};
        for (int64_t row = begin; row < smaller(b.rows, begin + rows_of_part(b)); ++row)
          add(sums, row * b.columns + column);
        put(sums);
      }
  }
  for (int half = STRANDS / 2; half > 0; half /= 2)
    for (int s = 0; s < half; ++s)
      for (int k = 0; k < 2; ++k) strands[s][k] += strands[s + half][k];
  out[0] = strands[0][0], out[1] = strands[0][1];
}

template <class As, class Sums, class Levels, class Back, class Slope>
bool batch_agrees(const char *name, const Batch &b, Sums sums, Levels levels, Back back, Slope slope) {
  using Stored = typename As::Stored;
  const int64_t count = b.rows * b.columns, c = b.channels;
  const size_t n = size_t(count), channels = size_t(c);
  const int64_t width = width_of_part(b), parts = parts_of(b);
  const std::unique_ptr<Stored[]> x(new Stored[n]), g(new Stored[n]), z(new Stored[n]), out(new Stored[n]);
  const std::unique_ptr<double[]> partial(new double[size_t(parts * 2 * width)]);
  const std::unique_ptr<double[]> found(new double[2 * channels]);
  const std::unique_ptr<float[]> statistics(new float[2 * channels]), table(new float[5 * channels]);
  const std::unique_ptr<float[]> slopes(new float[2 * channels]), running(new float[2 * channels]());
  const std::unique_ptr<float[]> weight(new float[channels]);
  int64_t batches = 1;
  for (int64_t i = 0; i < count; ++i)
    x[size_t(i)] = As::store(float(int32_t(uint32_t(i) * 2654435761u)) * 0x1p-30f),
             g[size_t(i)] = As::store(special<float>(i % 9 == 8 ? 0 : i));
  for (int64_t i = 0; i < c; ++i) weight[size_t(i)] = float(i % 3) - 0.5f;
  const Stair stair = {2, 1, 0, 0, 0.0, {0.25, 0.75}, {0.5, 0.5}};
  const double half_width = 0.5;
  Norm norm = {running.get(), running.get() + c, &batches, weight.get(), nullptr, -1.0, 0.25, 0, 0};
  const auto blocks = [](int64_t threads) { return unsigned(divided_up(threads, THREADS)); };
  const int64_t threads = b.planes ? b.rows * pieces_of_plane(b) * LANES : parts * b.columns;
  const unsigned chunks = unsigned(divided_up(count, CHUNK));
  bool same = true;
  double wanted[2];

  emulation::run(blocks(threads), THREADS, [&] { sums(b, &batches, x.get(), partial.get()); });
  emulation::run(blocks(c * STRANDS), THREADS, [&] {
    qt_batch_measured(b, norm, partial.get(), found.get(), statistics.get());
  });
  same &= batches == 2;
  const auto value = [&](int64_t at) { return As::load(x[size_t(at)]); };
  for (int64_t i = 0; i < c; ++i) {
    plain_sums(b, i, value, value, wanted);
    same &= found[size_t(i)] == wanted[0] && found[size_t(c + i)] == wanted[1];
    float mean, invstd, moved[2] = {};
    Norm other = norm;
    other.mean = moved - i, other.variance = moved + 1 - i;
    measure_channel(b, other, i, 2.0, wanted[0], wanted[1], &mean, &invstd);
    same &= statistics[size_t(i)] == mean && statistics[size_t(c + i)] == invstd;
    same &= running[size_t(i)] == moved[0] && running[size_t(c + i)] == moved[1];
  }

  emulation::run(blocks(c), THREADS, [&] { qt_batch_table(b, norm, statistics.get(), table.get()); });
  emulation::run(chunks, THREADS, [&] { levels(stair, b, table.get(), x.get(), z.get()); });
  emulation::run(blocks(threads), THREADS, [&] {
    back(stair, b, &half_width, table.get(), x.get(), g.get(), partial.get());
  });
  emulation::run(blocks(c * STRANDS), THREADS, [&] {
    qt_batch_returned(b, 1, partial.get(), statistics.get(), found.get(), slopes.get(), table.get());
  });
  emulation::run(chunks, THREADS, [&] {
    slope(stair, b, &half_width, table.get(), x.get(), g.get(), out.get());
  });

  const int64_t each = b.planes ? b.columns : b.columns / c;
  const auto channel_of = [&](int64_t at) { return at / each % c; };
  const auto deviation = [&](int64_t at) { return value(at) - statistics[size_t(channel_of(at))]; };
  const auto gain = [&](int64_t i) { return statistics[size_t(c + i)] * weight[size_t(i)]; };
  const auto y = [&](int64_t at) { return normalised(deviation(at), gain(channel_of(at)), 0.0f); };
  const auto d = [&](int64_t at) {
    float sum = 0.0f;
    for (int32_t k = 0; k < 2; ++k)
      sum += window(0, absolute(y(at)), float(stair.threshold[k]), 0.5f, height<float>(stair, k, 0.5));
    return sum * As::load(g[size_t(at)]);
  };
  std::vector<float> means(channels), slants(channels);
  for (int64_t i = 0; i < c; ++i) {
    plain_sums(b, i, d, deviation, wanted);
    float of_weight, of_bias;
    return_channel(b, statistics[size_t(c + i)], wanted[0], wanted[1], &of_weight, &of_bias,
                   &means[size_t(i)], &slants[size_t(i)]);
    same &= slopes[size_t(i)] == of_weight && slopes[size_t(c + i)] == of_bias;
    same &= found[size_t(i)] == wanted[0] && found[size_t(c + i)] == wanted[1];
  }
  for (int64_t at = 0; at < count; ++at) {
    const size_t i = size_t(channel_of(at));
    float level = 0.0f;
    for (int32_t k = 0; k < 2; ++k) level += absolute(y(at)) > float(stair.threshold[k]) ? 0.5f : 0.0f;
    same &= z[size_t(at)] == As::store(finish(1, y(at), level));
    const float back_to = returned(d(at), deviation(at), means[i], slants[i], gain(int64_t(i)));
    same &= out[size_t(at)] == As::store(back_to);
  }
  if (!same) printf("batch norm of %s, %lld rows, differs\n", name, (long long)b.rows);
  return same;
}

inline bool check_batch_norm() {
  bool same = true;
#define TRY_BATCH(type, As)                                                                        \
  for (const Batch &b : {Batch{0, 1, 6, 4103, 3}, Batch{0, 1, 15, 67, 5}, Batch{0, 0, 150, 35, 7}, \
                         Batch{0, 0, 1400, 3, 3}, Batch{0, 0, 3, 600, 300}})                       \
    same &= batch_agrees<As>(#type, b, qt_batch_sums_##type, qt_batch_stair_##type,                \
                             qt_batch_back_sums_##type, qt_batch_slope_##type);
  QT_BATCH_TYPES(TRY_BATCH)
#undef TRY_BATCH
  return same;
}

}  // namespace plain
