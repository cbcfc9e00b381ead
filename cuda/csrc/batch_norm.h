// Batch norm followed by a stair. An element is y = (x - centre) gain + shift, one operation after the
// other; y is what the stair is read at. Backwards, with d = gradient times slope at y,
//
//     dx = ((d - mean of d) - (x - centre) slant) gain
//
// where slant = (mean of d (x - centre)) / variance; with statistics that are given, dx = d gain.
//
// Sums are float64, and their order is fixed by the shape alone, so that threads, vectors and devices
// agree. A channel has parts, summed one by one; then STRANDS strands take every STRANDS-th part and
// are added in halves. A part is a piece of a plane, where sixteen lanes take every sixteenth
// element and are added in halves; or a column of some rows, one row after the other.
#pragma once

#include "stair.h"

namespace qt {

constexpr int64_t PLANE_PIECE = 4096;  // elements of a part of a plane
constexpr int LANES = 16;              // of a piece of a plane
constexpr int STRANDS = 64;            // of the parts of a channel

// An input as rows of one length. Long planes are rows of one channel, in turn (row % channels).
// Otherwise a row is an example, or a place of channels_last: it has all channels, each of as many
// columns as the next.
struct Batch {
  int32_t type;    // of the numbers, as in qcuda/kernels/abi.py
  int32_t planes;
  int64_t rows, columns, channels;
};
static_assert(sizeof(Batch) == 32, "as in qcuda/kernels/abi.py");

// What a norm keeps. Null: running numbers that are not moved, a weight of 1, a bias of 0.
struct Norm {
  void *mean, *variance;
  int64_t *batches;
  const void *weight, *bias;
  double share, eps;     // share < 0: one part in the number of batches
  int32_t running_type;  // of mean and variance
  int32_t type;          // of weight and bias
};
static_assert(sizeof(Norm) == 64, "as in qcuda/kernels/abi.py");

QT_FN int64_t divided_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
QT_FN int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
QT_FN int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

QT_FN int64_t pieces_of_plane(const Batch &b) { return divided_up(b.columns, PLANE_PIECE); }

// Of a part of columns: at least 64, or 4096 elements, and at most 2048 parts in all.
QT_FN int64_t rows_of_part(const Batch &b) {
  return larger(larger(64, divided_up(b.rows, 2048)), divided_up(4096, b.columns));
}

QT_FN int64_t parts_of(const Batch &b) {
  return b.planes ? b.rows / b.channels * pieces_of_plane(b) : divided_up(b.rows, rows_of_part(b));
}

// Two sums of as many columns are one after the other for each part.
QT_FN int64_t width_of_part(const Batch &b) { return b.planes ? b.channels : b.columns; }

QT_FN int64_t count_of_channel(const Batch &b) { return b.rows * b.columns / b.channels; }

QT_FN float normalised(float deviation, float gain, float shift) { return deviation * gain + shift; }

QT_FN float returned(float d, float deviation, float mean, float slant, float gain) {
  return ((d - mean) - deviation * slant) * gain;
}

// A number of a channel; `missing` if there are none.
QT_FN double channel_number(int32_t type, const void *numbers, int64_t channel, double missing) {
  if (!numbers) return missing;
  if (type == 0) return double(((const float *)numbers)[channel]);
  if (type == 3) return ((const double *)numbers)[channel];
  const uint16_t half = ((const uint16_t *)numbers)[channel];
  return double(type == 1 ? AsBFloat16::load(half) : AsFloat16::load(half));
}

// Halves are rounded by way of float32, as torch does.
QT_FN void set_channel_number(int32_t type, void *numbers, int64_t channel, double x) {
  if (type == 0) ((float *)numbers)[channel] = float(x);
  if (type == 1) ((uint16_t *)numbers)[channel] = AsBFloat16::store(float(x));
  if (type == 2) ((uint16_t *)numbers)[channel] = AsFloat16::store(float(x));
  if (type == 3) ((double *)numbers)[channel] = x;
}

// Mean and 1 / std of a channel from its sums of x and of x squared. Running numbers are moved.
QT_FN void measure_channel(const Batch &batch, const Norm &norm, int64_t channel, double batches,
                           double sum, double squares, float *mean, float *invstd) {
  const double count = double(count_of_channel(batch)), m = sum / count;
  const double v = squares / count - m * m, variance = v < 0.0 ? 0.0 : v;
  *mean = float(m), *invstd = float(1.0 / square_root(variance + norm.eps));
  if (!norm.mean) return;
  const double share = norm.share < 0.0 ? 1.0 / batches : norm.share;
  const double unbiased = variance * (count / (count - 1.0));
  const int32_t type = norm.running_type;
  set_channel_number(type, norm.mean, channel,
                     channel_number(type, norm.mean, channel, 0.0) * (1.0 - share) + share * m);
  set_channel_number(
      type, norm.variance, channel,
      channel_number(type, norm.variance, channel, 0.0) * (1.0 - share) + share * unbiased);
}

QT_FN float gain_of(const Norm &norm, int64_t channel, float invstd) {
  return invstd * float(channel_number(norm.type, norm.weight, channel, 1.0));
}

QT_FN float shift_of(const Norm &norm, int64_t channel) {
  return float(channel_number(norm.type, norm.bias, channel, 0.0));
}

// What a channel sends back: slopes of weight and bias, mean of d and slant.
QT_FN void return_channel(const Batch &batch, float invstd, double sum, double product,
                          float *weight, float *bias, float *mean, float *slant) {
  const double count = double(count_of_channel(batch)), wide = double(invstd);
  *weight = float(product * wide), *bias = float(sum);
  *mean = float(sum / count), *slant = float(product / count * wide * wide);
}

}  // namespace qt
