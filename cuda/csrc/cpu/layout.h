// From stored weights to visible ones and back: what codes show, and matrices turned round.
//
// A filter of a convolution lies channels last in a state, as `places` rows of `channels`, and the
// other way round in a contiguous weight. Both ways go through the first-level cache, in strips.
#pragma once

#include "../abi.h"
#include "step.h"

namespace qt {

// The codes of elements start .. start + count - 1: where they lie, or unpacked into `room`, which
// has room for 3 more.
inline const int8_t *codes_of(int32_t bits, const void *state, int64_t start, int64_t count,
                              int8_t *room) {
  if (bits == 8) return (const int8_t *)state + start;
  const int64_t before = start & 3;
  unpack(bits, (const uint8_t *)state + start / 4 * bits / 2, before + count, room);
  return room + before;
}

// What `count` codes show, one after the other. Trits are told apart without a table.
template <class Stored>
void show(const uint32_t *__restrict table, bool trits, const int8_t *__restrict codes, int64_t count,
          Stored *__restrict out) {
  if (!trits) {
    for (int64_t i = 0; i < count; ++i) out[i] = Stored(table[uint8_t(codes[i])]);
    return;
  }
  const Stored low = Stored(table[255]), middle = Stored(table[0]), high = Stored(table[1]);
  const Stored other = Stored(table[254]);
  for (int64_t i = 0; i < count; ++i) {
    const int8_t code = codes[i];
    const Stored up = code == 1 ? high : middle, down = code == -1 ? low : other;
    out[i] = code >= 0 ? up : down;
  }
}

// out[c * rows + r] = codes[r * stride + c] for the first `channels` of each row. Eight rows at a
// time are eight bytes of a word for each channel; a square of odd side leaves one row.
inline void turn_codes(const int8_t *__restrict codes, int64_t rows, int64_t stride, int64_t channels,
                       int8_t *__restrict out) {
  constexpr int64_t STRIP = 64;
  alignas(64) uint64_t words[STRIP];
  int64_t row = 0;
  for (; row + 8 <= rows; row += 8)
    for (int64_t first = 0; first < channels; first += STRIP) {
      const int64_t count = channels - first < STRIP ? channels - first : STRIP;
      const uint8_t *from = (const uint8_t *)codes + row * stride + first;
      for (int64_t c = 0; c < count; ++c) {
        uint64_t word = 0;
        for (int byte = 0; byte < 8; ++byte) word |= uint64_t(from[byte * stride + c]) << (8 * byte);
        words[c] = word;
      }
      int8_t *to = out + first * rows + row;
      for (int64_t c = 0; c < count; ++c) memcpy(to + c * rows, &words[c], 8);
    }
  for (; row < rows; ++row)
    for (int64_t c = 0; c < channels; ++c) out[c * rows + row] = codes[row * stride + c];
}

// Shows a filter's codes, `places` rows of `channels`, channel by channel. A strip of channels is
// turned as bytes in `room`, which is as large as the filter.
template <class Stored>
void show_turned(const uint32_t *table, bool trits, const int8_t *codes, int64_t places,
                 int64_t channels, int8_t *room, Stored *out) {
  const int64_t strip = places < 64 ? 4096 / places / 64 * 64 : 64;
  for (int64_t first = 0; first < channels; first += strip) {
    const int64_t count = channels - first < strip ? channels - first : strip;
    turn_codes(codes + first, places, channels, count, room);
    show(table, trits, room, count * places, out + first * places);
  }
}

// out[p * channels + c] = in[c * places + p].
template <class Stored>
void turn(const Stored *__restrict in, int64_t channels, int64_t places, Stored *__restrict out) {
  constexpr int64_t STRIP = 16;
  int64_t first = 0;
  for (; first + STRIP <= channels; first += STRIP)
    for (int64_t p = 0; p < places; ++p) {
      const Stored *from = in + first * places + p;
      Stored *to = out + p * channels + first;
      for (int64_t c = 0; c < STRIP; ++c) to[c] = from[c * places];
    }
  for (; first < channels; ++first)
    for (int64_t p = 0; p < places; ++p) out[p * channels + first] = in[first * places + p];
}

}  // namespace qt
