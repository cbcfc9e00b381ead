// What one thread handles at a time: GROUP consecutive weights, with their gradients, moments and
// words. A whole group of an aligned tensor is read and written 16 bytes at a time; the last group
// of a tensor, and tensors that start at odd addresses, one number at a time. Same bits either way.
#pragma once

#include "../abi.h"
#include "../philox.h"
#include "../storage.h"

#define QT_DEVICE __device__ __forceinline__
#if defined(__CUDACC__)
#define QT_UNROLL _Pragma("unroll")
#define QT_UNROLL_BY(n) QT_PRAGMA(unroll n)
#define QT_PRAGMA(words) _Pragma(#words)
#define QT_GLOBAL(p) __builtin_assume(__isGlobal(p))  // an address read from memory says not where
#else
#define QT_UNROLL
#define QT_UNROLL_BY(n)
#define QT_GLOBAL(p)
#endif

namespace qt {

constexpr int QUAD = 4;          // weights of one block of words, and of one byte of trits
constexpr int GROUP = 2 * QUAD;  // weights of a thread at a time
constexpr int THREADS = 256;     // of a block
constexpr int64_t CHUNK = 8192;  // weights of a block

struct alignas(16) Sixteen {
  uint32_t part[4];
};
struct alignas(8) Eight {
  uint32_t part[2];
};

// The weights of a group that exist: GROUP, or fewer at a tensor's end.
struct Range {
  int64_t start;
  int32_t count;
  bool whole;  // all of them exist and their addresses suit vectors
};

QT_DEVICE Range range(int64_t start, int64_t end, bool aligned) {
  int32_t count = end - start < GROUP ? int32_t(end - start) : GROUP;
  return Range{start, count, aligned && count == GROUP};
}

// Of things that are counted one after the other, with before[k] of them before kind k: the kind
// of a number's thing.
QT_DEVICE int32_t kind_of(const uint32_t *before, int32_t kinds, uint32_t number) {
  int32_t low = 0, high = kinds;  // it is in low .. high - 1
  QT_LOOP while (high - low > 1) {
    const int32_t middle = (low + high) / 2;
    (before[middle] <= number ? low : high) = middle;
  }
  return low;
}

QT_DEVICE bool divisible(const void *a, uint32_t by) { return ((uint64_t)a & (by - 1)) == 0; }

// Writes float32 bits (type float32), or the low halves of the numbers (type bfloat16).
QT_DEVICE void store_reals(void *base, int32_t type, const Range &at, const uint32_t x[GROUP]) {
  if (type == REAL_FLOAT32) {
    uint32_t *p = (uint32_t *)base + at.start;
    if (at.whole) {
      ((Sixteen *)p)[0] = Sixteen{{x[0], x[1], x[2], x[3]}};
      ((Sixteen *)p)[1] = Sixteen{{x[4], x[5], x[6], x[7]}};
    } else {
      QT_UNROLL for (int i = 0; i < GROUP; ++i) if (i < at.count) p[i] = x[i];
    }
  } else {
    uint16_t *p = (uint16_t *)base + at.start;
    if (at.whole) {
      Sixteen a;
      QT_UNROLL for (int i = 0; i < 4; ++i) a.part[i] = (x[2 * i] & 0xffffu) | x[2 * i + 1] << 16;
      ((Sixteen *)p)[0] = a;
    } else {
      QT_UNROLL for (int i = 0; i < GROUP; ++i) if (i < at.count) p[i] = uint16_t(x[i]);
    }
  }
}

// Codes of a group, one int8 each.
struct int8 {
  static constexpr int each = 1;  // of a byte
  Eight bytes;

  static QT_DEVICE bool aligned(const void *base) { return divisible(base, 8); }

  static QT_DEVICE int8 load(const void *base, const Range &at) {
    const uint8_t *p = (const uint8_t *)base + at.start;
    int8 x = {};
    if (at.whole) {
      x.bytes = *(const Eight *)p;
    } else {
      QT_UNROLL for (int i = 0; i < GROUP; ++i)
        if (i < at.count) x.bytes.part[i / 4] |= uint32_t(p[i]) << 8 * (i & 3);
    }
    return x;
  }

  QT_DEVICE int32_t code(int i) const { return int8_t(uint8_t(bytes.part[i / 4] >> 8 * (i & 3))); }

  // Into a group that began as zeros.
  QT_DEVICE void put(int i, int32_t code) {
    bytes.part[i / 4] |= (uint32_t(code) & 0xffu) << 8 * (i & 3);
  }

  QT_DEVICE void store(void *base, const Range &at) const {
    uint8_t *p = (uint8_t *)base + at.start;
    if (at.whole) {
      *(Eight *)p = bytes;
    } else {
      QT_UNROLL for (int i = 0; i < GROUP; ++i)
        if (i < at.count) p[i] = uint8_t(bytes.part[i / 4] >> 8 * (i & 3));
    }
  }
};

// Codes of a group, four trits a byte. No two threads share a byte.
struct trits {
  static constexpr int each = QUAD;  // of a byte
  uint8_t byte[2];

  static QT_DEVICE bool aligned(const void *base) { return divisible(base, 2); }

  static QT_DEVICE trits load(const void *base, const Range &at) {
    const uint8_t *p = (const uint8_t *)base + at.start / 4;
    trits x = {};
    if (at.whole) {
      uint16_t both = *(const uint16_t *)p;
      x.byte[0] = uint8_t(both), x.byte[1] = uint8_t(both >> 8);
    } else {
      x.byte[0] = p[0];
      if (at.count > 4) x.byte[1] = p[1];
    }
    return x;
  }

  QT_DEVICE int32_t code(int i) const { return packed_code<2>(byte[i / 4], i & 3); }

  // Into a group that began as zeros, which is also what padding bits are.
  QT_DEVICE void put(int i, int32_t code) { byte[i / 4] |= uint8_t(code_bits<2>(code, i & 3)); }

  QT_DEVICE void store(void *base, const Range &at) const {
    uint8_t *p = (uint8_t *)base + at.start / 4;
    if (at.whole) {
      *(uint16_t *)p = uint16_t(byte[0] | byte[1] << 8);
    } else {
      p[0] = byte[0];
      if (at.count > 4) p[1] = byte[1];
    }
  }
};

// The words of N elements from the global element `first` on. A generator call for each block of
// four, and one more where they straddle.
template <int N>
QT_DEVICE void words_from(uint64_t seed, uint32_t iteration, uint32_t tensor, Stream stream,
                          uint64_t first, uint32_t out[N]) {
  const uint64_t block = first / QUAD;
  QT_UNROLL for (int b = 0; b < N / QUAD; ++b) {
    Words w = words_of_block(seed, iteration, tensor, stream, block + uint32_t(b));
    QT_UNROLL for (int i = 0; i < QUAD; ++i) out[QUAD * b + i] = w.lane[i];
  }
  const uint32_t lane = uint32_t(first) % QUAD;
  if (lane == 0) return;
  Words w = words_of_block(seed, iteration, tensor, stream, block + N / QUAD);
  uint32_t next[3] = {w.lane[0], w.lane[1], w.lane[2]};
  QT_LOOP for (uint32_t shift = 0; shift < lane; ++shift) {  // by one place, so that no index varies
    QT_UNROLL for (int i = 0; i < N - 1; ++i) out[i] = out[i + 1];
    out[N - 1] = next[0];
    next[0] = next[1], next[1] = next[2];
  }
}

}  // namespace qt
