// One element of batch norm followed by a stair: y = (x - centre) gain + shift, one operation after
// the other, is what the stair is read at. Backwards, with d = gradient times slope at y,
//
//     dx = ((d - mean of d) - (x - centre) slant) gain
//
// where slant = (mean of d (x - centre)) / variance; with statistics that are given, dx = d gain.
#pragma once

#include "stair.h"

namespace qt {

// An input as rows of one length: planes have one channel, in turn (row % channels), and rows of
// channels_last have all of them.
struct Batch {
  int32_t type;    // of the numbers, as in qcuda/kernels/abi.py
  int32_t planes;
  int64_t rows, length, channels;
};
static_assert(sizeof(Batch) == 32, "as in qcuda/kernels/abi.py");

QT_FN float normalised(float deviation, float gain, float shift) { return deviation * gain + shift; }

QT_FN float returned(float d, float deviation, float mean, float slant, float gain) {
  return ((d - mean) - deviation * slant) * gain;
}

}  // namespace qt
