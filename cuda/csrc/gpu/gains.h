// The gains of the weights of a block: a factor of the gradients for each row of a tensor.
#pragma once

#include "wide.h"

namespace qt {

// Weight i of a block's part of a tensor lies in row (before + i) / length, counted from the part's
// first row. Of a row that is longer than CHUNK only what the part can reach matters, and it is cut
// to CHUNK weights; so numbers are small, and a multiplication divides: for n < 2 CHUNK and lengths
// d <= CHUNK, n (2^31 / d + e) with 0 < e <= 1 is less than 2^31 (n / d + 1 / d).
struct Gains {
  const float *first;  // the gain of the first row, or null for no gains
  uint32_t before, inverse;
  bool by_quad;  // no quad lies in two rows

  static QT_DEVICE Gains of(const Tensor &t, int64_t begin, int32_t count) {
    if (!t.gain) return Gains{};
    const int64_t row = begin < t.row ? 0 : begin / t.row;
    const int64_t inside = begin - row * t.row, left = t.row - inside;
    const bool cut = t.row > CHUNK;
    const uint32_t length = uint32_t(cut ? CHUNK : t.row);
    const uint32_t before = uint32_t(!cut ? inside : left < CHUNK ? CHUNK - left : 0);
    return Gains{t.gain + row, before, (1u << 31) / length + 1, t.row % QUAD == 0 || left >= count};
  }

  QT_DEVICE float at(uint32_t i) const {
    return read_at<float, float>(first, uint32_t(uint64_t(before + i) * inverse >> 31));
  }

  // Gradients of the quads at start and start + gap.
  template <uint32_t gap>
  QT_DEVICE void scale(uint32_t start, float x[GROUP]) const {
    if (by_quad) {
      QT_UNROLL for (uint32_t k = 0; k < 2; ++k) {
        const float gain = at(start + k * gap);
        QT_UNROLL for (uint32_t i = 0; i < QUAD; ++i) x[QUAD * k + i] *= gain;
      }
    } else {
      QT_UNROLL for (uint32_t i = 0; i < GROUP; ++i) x[i] *= at(start + i / QUAD * gap + i % QUAD);
    }
  }
};

}  // namespace qt
