// The numbers of a group as wide loads and stores move them: two quads of a thread, `gap` elements
// apart. At a gap of QUAD they are neighbours.
#pragma once

#include "group.h"

namespace qt {

template <class To, class From>
QT_DEVICE To read_at(const void *base, uint32_t start) {
  QT_GLOBAL(base);
  return *(const To *)((const From *)base + start);
}

template <class To, class From>
QT_DEVICE void write_at(void *base, uint32_t start, const To &x) {
  QT_GLOBAL(base);
  *(To *)((From *)base + start) = x;
}

template <class Real>
QT_DEVICE float read(const void *base, uint32_t i) {
  using Stored = typename Real::Stored;
  return Real::load(read_at<Stored, Stored>(base, i));
}

template <class Real>
QT_DEVICE void write(void *base, uint32_t i, float x, uint32_t sixteen_bits) {
  using Stored = typename Real::Stored;
  write_at<Stored, Stored>(base, i, Real::store(x, sixteen_bits));
}

// Reals of a group as they lie in memory. Loading is kept apart from decoding so that all loads of
// a group are on their way before the first is waited for.
template <class Real, uint32_t gap>
struct Row;

template <uint32_t gap>
struct Row<Float32, gap> {
  Sixteen quad[2] = {};

  QT_DEVICE void load(const void *base, uint32_t start) {
    QT_UNROLL for (uint32_t k = 0; k < 2; ++k) quad[k] = read_at<Sixteen, float>(base, start + k * gap);
  }

  // At any address. A loop, for the compiler would rather issue all eight loads and cancel them.
  QT_DEVICE void load_each(const void *base, uint32_t start) {
    QT_LOOP for (uint32_t k = 0; k < 2; ++k) {
      quad[0] = quad[1];
      QT_UNROLL for (uint32_t i = 0; i < QUAD; ++i)
        quad[1].part[i] = read_at<uint32_t, float>(base, start + k * gap + i);
    }
  }

  QT_DEVICE void decode(float out[GROUP]) const {
    QT_UNROLL for (int i = 0; i < GROUP; ++i) out[i] = real(quad[i / QUAD].part[i % QUAD]);
  }

  QT_DEVICE void encode(const float x[GROUP], const uint32_t *) {
    QT_UNROLL for (int i = 0; i < GROUP; ++i) quad[i / QUAD].part[i % QUAD] = bits(x[i]);
  }

  QT_DEVICE void store(void *base, uint32_t start) const {
    QT_UNROLL for (uint32_t k = 0; k < 2; ++k) write_at<Sixteen, float>(base, start + k * gap, quad[k]);
  }
};

template <uint32_t gap>
struct Row<BFloat16, gap> {
  Eight quad[2] = {};

  QT_DEVICE void load(const void *base, uint32_t start) {
    if constexpr (gap == QUAD) {
      Sixteen x = read_at<Sixteen, uint16_t>(base, start);
      QT_UNROLL for (uint32_t k = 0; k < 2; ++k) quad[k] = Eight{{x.part[2 * k], x.part[2 * k + 1]}};
    } else {
      QT_UNROLL for (uint32_t k = 0; k < 2; ++k) quad[k] = read_at<Eight, uint16_t>(base, start + k * gap);
    }
  }

  QT_DEVICE void load_each(const void *base, uint32_t start) {
    QT_LOOP for (uint32_t k = 0; k < 2; ++k) {
      quad[0] = quad[1];
      QT_UNROLL for (uint32_t i = 0; i < QUAD; i += 2) {
        const uint32_t place = start + k * gap + i;
        const uint32_t low = read_at<uint16_t, uint16_t>(base, place);
        quad[1].part[i / 2] = low | uint32_t(read_at<uint16_t, uint16_t>(base, place + 1)) << 16;
      }
    }
  }

  QT_DEVICE void decode(float out[GROUP]) const {
    QT_UNROLL for (int i = 0; i < GROUP; ++i)
      out[i] = widen(uint16_t(quad[i / QUAD].part[i % QUAD / 2] >> 16 * (i % 2)));
  }

  QT_DEVICE void encode(const float x[GROUP], const uint32_t random[GROUP]) {
    QT_UNROLL for (int i = 0; i < GROUP; i += 2)
      quad[i / QUAD].part[i % QUAD / 2] =
          round_two_stochastically(x[i], random[i], x[i + 1], random[i + 1]);
  }

  QT_DEVICE void store(void *base, uint32_t start) const {
    if constexpr (gap == QUAD) {
      const Sixteen x = {{quad[0].part[0], quad[0].part[1], quad[1].part[0], quad[1].part[1]}};
      write_at<Sixteen, uint16_t>(base, start, x);
    } else {
      QT_UNROLL for (uint32_t k = 0; k < 2; ++k) write_at<Eight, uint16_t>(base, start + k * gap, quad[k]);
    }
  }
};

// Codes of moments, which are rounded, so that quads are neighbours.
template <>
struct Row<Int8, QUAD> {
  Eight codes;

  QT_DEVICE void load(const void *base, uint32_t start) { codes = read_at<Eight, int8_t>(base, start); }

  QT_DEVICE void decode(float out[GROUP]) const {
    QT_UNROLL for (int i = 0; i < GROUP; ++i) {
      // 2^23 and the code plus 128, by its bits.
      const uint32_t byte = (codes.part[i / QUAD] ^ 0x80808080u) >> 8 * (i % QUAD) & 0xffu;
      out[i] = (real(0x4b000000u | byte) - (0x1p23f + 128.0f)) * 0.0625f;
    }
  }

  QT_DEVICE void encode(const float x[GROUP], const uint32_t random[GROUP]) {
    QT_UNROLL for (int k = 0; k < 2; ++k) {
      uint32_t high[QUAD];
      QT_UNROLL for (int i = 0; i < QUAD; ++i) high[i] = Int8::rounded(x[QUAD * k + i], random[QUAD * k + i]);
      codes.part[k] = third_bytes(high) ^ 0x80808080u;
    }
  }

  QT_DEVICE void store(void *base, uint32_t start) const { write_at<Eight, int8_t>(base, start, codes); }
};

// Indices of a group.
template <class State, uint32_t gap>
struct Indices;

template <uint32_t gap>
struct Indices<int8, gap> {
  Eight bytes;     // a code in each
  int32_t middle;  // of the lattice

  static QT_DEVICE bool aligned(const void *base) { return divisible(base, gap == QUAD ? 8 : 4); }

  QT_DEVICE void load(const void *base, uint32_t start) {
    if constexpr (gap == QUAD) {
      bytes = read_at<Eight, uint8_t>(base, start);
    } else {
      QT_UNROLL for (uint32_t k = 0; k < 2; ++k) bytes.part[k] = read_at<uint32_t, uint8_t>(base, start + k * gap);
    }
  }

  QT_DEVICE bool legal() const { return true; }  // all codes go the plain way

  QT_DEVICE int32_t index(int i) const {
    return int8_t(uint8_t(bytes.part[i / QUAD] >> 8 * (i % QUAD))) + middle;
  }

  QT_DEVICE void put(int i, int32_t index) {
    bytes.part[i / QUAD] |= (uint32_t(index - middle) & 0xffu) << 8 * (i % QUAD);
  }

  // How many differ.
  QT_DEVICE uint32_t moved(const Indices &before) const {
    uint32_t n = 0;
    QT_UNROLL for (uint32_t k = 0; k < 2; ++k) {
      const uint32_t change = bytes.part[k] ^ before.bytes.part[k];
      n += ones((((change & 0x7f7f7f7fu) + 0x7f7f7f7fu) | change) & 0x80808080u);
    }
    return n;
  }

  QT_DEVICE void store(void *base, uint32_t start) const {
    if constexpr (gap == QUAD) {
      write_at<Eight, uint8_t>(base, start, bytes);
    } else {
      QT_UNROLL for (uint32_t k = 0; k < 2; ++k) write_at<uint32_t, uint8_t>(base, start + k * gap, bytes.part[k]);
    }
  }
};

// Two bits each. The centre of two and of three levels is 1, so an index is its trit plus one.
template <uint32_t gap>
struct Indices<trits, gap> {
  uint32_t pairs;    // an index in each
  uint32_t illegal;  // codes that were read
  int32_t middle;    // 1

  static QT_DEVICE bool aligned(const void *base) { return divisible(base, gap == QUAD ? 2 : 1); }

  // 11, 00, 01 to 00, 01, 10 and back, everywhere at once.
  static QT_DEVICE uint32_t from_trits(uint32_t x) {
    const uint32_t low = x & 0x5555u, high = x >> 1 & 0x5555u;
    return (~(low | high) & 0x5555u) | (low & ~high) << 1;
  }
  static QT_DEVICE uint32_t to_trits(uint32_t x) {
    const uint32_t low = x & 0x5555u, high = x >> 1 & 0x5555u;
    return (~low & 0x5555u) | (~(low | high) & 0x5555u) << 1;
  }

  QT_DEVICE void load(const void *base, uint32_t start) {
    uint32_t x;
    if constexpr (gap == QUAD)
      x = read_at<uint16_t, uint8_t>(base, start / QUAD);
    else
      x = read_at<uint8_t, uint8_t>(base, start / QUAD) |
          uint32_t(read_at<uint8_t, uint8_t>(base, (start + gap) / QUAD)) << 8;
    illegal = x >> 1 & ~x & 0x5555u;
    pairs = from_trits(x);
  }

  QT_DEVICE bool legal() const { return illegal == 0; }

  QT_DEVICE int32_t index(int i) const { return int32_t(pairs >> 2 * i & 3u); }

  QT_DEVICE void put(int i, int32_t index) { pairs += uint32_t(index) << 2 * i; }

  QT_DEVICE uint32_t moved(const Indices &before) const {
    const uint32_t change = pairs ^ before.pairs;
    return ones((change | change >> 1) & 0x5555u);
  }

  QT_DEVICE void store(void *base, uint32_t start) const {
    const uint32_t x = to_trits(pairs);
    if constexpr (gap == QUAD) {
      write_at<uint16_t, uint8_t>(base, start / QUAD, uint16_t(x));
    } else {
      write_at<uint8_t, uint8_t>(base, start / QUAD, uint8_t(x));
      write_at<uint8_t, uint8_t>(base, (start + gap) / QUAD, uint8_t(x >> 8));
    }
  }
};

}  // namespace qt
