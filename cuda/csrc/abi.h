// The C ABI: plain structures and numbers, the same for the CPU libraries and the GPU launcher.
#pragma once

#include "core.h"

namespace qt {

enum Storage : int32_t { STORAGE_INT8 = 0, STORAGE_TRITS = 1, STORAGE_NIBBLES = 2, STORAGE_SIXES = 3 };
// Float16 is for visible weights only, int8 for moments only.
enum Real : int32_t { REAL_FLOAT32 = 0, REAL_BFLOAT16 = 1, REAL_FLOAT16 = 2, REAL_INT8 = 3 };

// One tensor of a multi-tensor launch. 80 bytes.
struct Tensor {
  void *state;           // codes, one a byte or packed, see storage.h
  const void *gradient;  // float32 or bfloat16
  void *first;           // first moment, or null
  void *second;          // second moment, or null
  float *increment;      // where the increments used are written, or null
  int64_t count;         // weights
  int64_t offset;        // global element number of the first of them
  uint32_t tensor;       // the tensor's number in the random counter
  uint32_t unused;
  const float *gain;     // a factor of the gradients for each row of the tensor, or null for none
  int64_t row;           // weights of a row, 0 without gains
};

// What all tensors of a launch share. 56 bytes.
struct Launch {
  uint64_t seed;
  int32_t rule;           // place in QT_ALGORITHMS, the stems in alphabetical order
  int32_t optimiser;      // place in QT_OPTIMISERS_OF
  int32_t storage;        // Storage
  int32_t gradient_type;  // Real
  int32_t moment_type;    // Real
  Spec spec;              // 28 bytes
};

// What a launch adds to, for each tensor.
struct Counters {
  int64_t moved;  // weights that changed level
  int64_t nan;    // increments that were not a number
};

}  // namespace qt
