// How weights and moments are stored: codes in 8, 6, 4 or 2 bits, reals as float32 or bfloat16.
//
// Codes are in two's complement, the first in the lowest bits, and four of them begin a byte anew:
// four trits take one byte, four nibbles two, four of six bits three.
#pragma once

#include "abi.h"
#include "core.h"

namespace qt {

// A code is an index less the lattice's centre.
QT_FN int32_t centre(const Spec &spec) { return spec.size / 2; }

// Bits of a code, 0 for no storage.
QT_FN int32_t bits_of(int32_t storage) {
  constexpr int32_t bits[] = {8, 2, 4, 6};
  return storage >= 0 && storage <= STORAGE_SIXES ? bits[storage] : 0;
}

// The most levels of a storage. Of the four trits one is illegal.
QT_FN int32_t most_levels(int32_t storage) { return storage == STORAGE_TRITS ? 3 : 1 << bits_of(storage); }

// One of the four codes, of so many bits, of a quad.
template <int BITS>
QT_FN int32_t packed_code(uint32_t quad, int lane) {
  return int32_t(quad << (32 - BITS * (lane + 1))) >> (32 - BITS);
}
template <int BITS>
QT_FN uint32_t code_bits(int32_t code, int lane) {
  return (uint32_t(code) & ((1u << BITS) - 1)) << (BITS * lane);
}

// Number of illegal codes in a byte of four trits: 00 / 01 / 11 are 0 / +1 / -1.
QT_FN int illegal_trits(uint8_t byte) {
  uint32_t high = (byte >> 1) & 0x55u, low = byte & 0x55u;
  uint32_t bad = high & ~low;
  return int((bad & 1u) + ((bad >> 2) & 1u) + ((bad >> 4) & 1u) + ((bad >> 6) & 1u));
}

QT_FN float widen(uint16_t bfloat16) { return real(uint32_t(bfloat16) << 16); }

// The bits of the nearest bfloat16 of a number given by its bits; ties to even. NAN_BITS stay NaN.
QT_FN uint32_t nearest_bfloat16(uint32_t b) { return (b + 0x7fffu + ((b >> 16) & 1u)) >> 16; }

// The bits of the nearest float16, likewise; from 65520 on that is infinity.
QT_FN uint32_t nearest_float16(uint32_t b) {
  const uint32_t sign = (b >> 16) & 0x8000u, a = b & 0x7fffffffu;
  if (a > 0x7f800000u) return sign | 0x7e00u;
  if (a >= 0x477ff000u) return sign | 0x7c00u;
  // Below 2^-14 float16 has steps of 2^-24, as float32 has from 1/2 on: the sum is what is rounded.
  if (a < 0x38800000u) return sign | (bits(real(a) + 0.5f) - 0x3f000000u);
  const uint32_t rebased = a - 0x38000000u;
  return sign | ((rebased + 0xfffu + ((rebased >> 13) & 1u)) >> 13);
}

// A number as it is stored: all bits of a float32, the low half of the others.
QT_FN uint32_t nearest(uint32_t b, int32_t real_type) {
  if (real_type == REAL_FLOAT32) return b;
  return real_type == REAL_BFLOAT16 ? nearest_bfloat16(b) : nearest_float16(b);
}

// Stochastic rounding to bfloat16: up with probability (dropped bits) / 2^16, so the mean is x.
// x is at most the largest bfloat16 in magnitude, or is a bfloat16 (NaN and infinities among them).
QT_FN uint16_t round_stochastically(float x, uint32_t sixteen_bits) {
  return uint16_t((bits(x) + sixteen_bits) >> 16);
}

// Two of them, the first in the low half. A GPU has an instruction that picks bytes.
QT_FN uint32_t round_two_stochastically(float x, uint32_t sixteen_x, float y, uint32_t sixteen_y) {
#if defined(__CUDA_ARCH__)
  return __byte_perm(bits(x) + sixteen_x, bits(y) + sixteen_y, 0x7632);
#else
  return round_stochastically(x, sixteen_x) | uint32_t(round_stochastically(y, sixteen_y)) << 16;
#endif
}

// Of four words the bytes that are third from below.
QT_FN uint32_t third_bytes(const uint32_t x[4]) {
#if defined(__CUDA_ARCH__)
  return __byte_perm(__byte_perm(x[0], x[1], 0x0062), __byte_perm(x[2], x[3], 0x0062), 0x5410);
#else
  uint32_t bytes = 0;
  for (int i = 0; i < 4; ++i) bytes |= (x[i] >> 16 & 0xffu) << 8 * i;
  return bytes;
#endif
}

// A type of gradients and moments: how one is read, and written with sixteen random bits.
struct Float32 {
  using Stored = float;
  static QT_FN float load(float x) { return x; }
  static QT_FN float store(float x, uint32_t) { return x; }
};

struct BFloat16 {
  using Stored = uint16_t;
  static QT_FN float load(uint16_t x) { return widen(x); }
  static QT_FN uint16_t store(float x, uint32_t sixteen_bits) {
    return round_stochastically(x, sixteen_bits);
  }
};

// Moments in units of 1/16 of a normalised gradient's rms, from -127 to 127 of them.
struct Int8 {
  using Stored = int8_t;
  static QT_FN float load(int8_t x) { return float(x) * 0.0625f; }
  static QT_FN int8_t store(float x, uint32_t sixteen_bits) {
    return int8_t(int32_t(rounded(x, sixteen_bits) >> 16) - 128);
  }
  // The code plus 128 above 16 bits that are behind the point: a sum to which floats are rounded.
  static QT_FN uint32_t rounded(float x, uint32_t sixteen_bits) {
    const float most = x < 7.9375f ? x : 7.9375f;
    const float units = (most > -7.9375f ? most : -7.9375f) * 16.0f;
    return uint32_t((units + 128.0f) * 0x1p16f) + sixteen_bits;
  }
};

}  // namespace qt
