// The mean square of gradients along each row of a tensor, and the gain by which the row's gradients
// are multiplied. See qtheory/optimisers.py for the equations.
//
// The order of the sums is fixed: a row is cut into parts of PART elements; in a part, lane l of
// LANES takes elements l, l + LANES, ... one after the other, and lanes are added in halves; then
// the parts are added one after the other. All of it in float64, in which squares are exact.
#pragma once

#include "optimisers.h"

namespace qt {

// One tensor whose mean squares are taken. 40 bytes.
struct Rows {
  const void *gradient;  // float32 or bfloat16
  float *square;         // the running mean square of each row
  float *gain;           // where the gain of each row is written
  int64_t count;         // weights
  int64_t row;           // weights of a row
};

constexpr int SQUARE_LANES = 32;
constexpr int64_t SQUARE_PART = 4096;

// The parts of all rows of a tensor, in order.
struct Parts {
  int64_t row, of_row, all;

  QT_FN explicit Parts(const Rows &rows)
      : row(rows.row),
        of_row(row > 0 ? (row + SQUARE_PART - 1) / SQUARE_PART : 0),
        all(row > 0 ? rows.count / row * of_row : 0) {}

  QT_FN int64_t start(int64_t part) const { return part / of_row * row + part % of_row * SQUARE_PART; }
  QT_FN int64_t count(int64_t part) const {
    const int64_t left = row - part % of_row * SQUARE_PART;
    return left < SQUARE_PART ? left : SQUARE_PART;
  }
};

// What an iteration makes of a row with a sum of squares: the running mean square, and the gain.
// A sum that is not finite, or whose mean could not be kept, changes nothing and has the gain NaN.
QT_FN float next_gain(const Scalars &s, double sum, int64_t row, float &square) {
  const float q = s.second_decay * square + s.second_gain * float(sum / double(row));
  const bool possible = Each::kept(q);
  square = possible ? q : square;
  const float root = square_root(q) * s.second_scale;
  const float gain = root > 0.0f ? s.first_gain / root : 0.0f;
  return possible ? gain : real(NAN_BITS);
}

}  // namespace qt
