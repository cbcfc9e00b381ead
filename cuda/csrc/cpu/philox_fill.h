// Random words in bulk. The same bits as qt::words_of_block, in element order.
//
// A 128-bit lane holds one counter. Multiplying its even numbers gives both products of a round,
// reversing the lane puts them where the next round wants them, and the odd numbers are the even
// ones' neighbours: multiply, shuffle, shift, two exclusive ors for four words.
#pragma once

#include "../philox.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace qt {

#if defined(__AVX512F__)
#define QT_LANES 4
using Vector = __m512i;
QT_FN Vector repeat(int64_t low, int64_t high) {
  return _mm512_set_epi64(high, low, high, low, high, low, high, low);
}
QT_FN Vector steps() { return _mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0); }
QT_FN Vector add(Vector a, Vector b) { return _mm512_add_epi64(a, b); }
QT_FN void store(uint32_t *out, Vector a) { _mm512_storeu_si512(out, a); }
QT_FN Vector round_of(Vector state, Vector multiplier, Vector key) {
  Vector product = _mm512_shuffle_epi32(_mm512_mul_epu32(state, multiplier), _MM_PERM_ABCD);
  return _mm512_ternarylogic_epi64(product, _mm512_srli_epi64(state, 32), key, 0x96);
}
#elif defined(__AVX2__)
#define QT_LANES 2
using Vector = __m256i;
QT_FN Vector repeat(int64_t low, int64_t high) { return _mm256_set_epi64x(high, low, high, low); }
QT_FN Vector steps() { return _mm256_set_epi64x(0, 1, 0, 0); }
QT_FN Vector add(Vector a, Vector b) { return _mm256_add_epi64(a, b); }
QT_FN void store(uint32_t *out, Vector a) { _mm256_storeu_si256((__m256i *)out, a); }
QT_FN Vector round_of(Vector state, Vector multiplier, Vector key) {
  Vector product = _mm256_shuffle_epi32(_mm256_mul_epu32(state, multiplier), 0x1B);
  return _mm256_xor_si256(_mm256_xor_si256(product, _mm256_srli_epi64(state, 32)), key);
}
#endif

// Enough independent counters to hide the latency of a round.
#if defined(__AVX512F__)
constexpr int64_t BLOCKS_AT_ONCE = 48;
#else
constexpr int64_t BLOCKS_AT_ONCE = 24;
#endif

// Words of blocks first .. first + blocks - 1; blocks is a multiple of BLOCKS_AT_ONCE.
inline void fill_words(uint64_t seed, uint32_t iteration, uint32_t tensor, uint32_t stream,
                       uint64_t first, int64_t blocks, uint32_t *out) {
#if defined(QT_LANES)
  constexpr int vectors = BLOCKS_AT_ONCE / QT_LANES;
  const Vector multiplier = repeat(0xD2511F53, 0xCD9E8D57);
  Vector keys[10];
  uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
  for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
    keys[round] = repeat(k0, k1);
  const int64_t rest = int64_t(uint64_t(iteration) | uint64_t(tensor) << 32);
  const uint64_t origin = first | uint64_t(stream) << 56;
  for (int64_t block = 0; block < blocks; block += BLOCKS_AT_ONCE) {
    Vector state[vectors];
    for (int v = 0; v < vectors; ++v)
      state[v] = add(repeat(int64_t(origin + uint64_t(block + v * QT_LANES)), rest), steps());
    for (int round = 0; round < 10; ++round)
      for (int v = 0; v < vectors; ++v) state[v] = round_of(state[v], multiplier, keys[round]);
    for (int v = 0; v < vectors; ++v) store(out + 4 * (block + v * QT_LANES), state[v]);
  }
#else
  for (int64_t block = 0; block < blocks; ++block) {
    Words w = words_of_block(seed, iteration, tensor, Stream(stream), first + uint64_t(block));
    for (int lane = 0; lane < 4; ++lane) out[4 * block + lane] = w.lane[lane];
  }
#endif
}

// Words of `count` elements from the global element `first` on, for runs of at most N elements.
template <int64_t N>
struct WordBuffer {
  // An element may begin inside a block, and blocks come BLOCKS_AT_ONCE at a time.
  alignas(64) uint32_t storage[N + 4 * BLOCKS_AT_ONCE + 4];

  const uint32_t *fill(uint64_t seed, uint32_t iteration, uint32_t tensor, uint32_t stream,
                       uint64_t first, int64_t count) {
    uint64_t lane = first & 3;
    int64_t blocks = (int64_t(lane) + count + 3) / 4;
    blocks = (blocks + BLOCKS_AT_ONCE - 1) / BLOCKS_AT_ONCE * BLOCKS_AT_ONCE;
    fill_words(seed, iteration, tensor, stream, first >> 2, blocks, storage);
    return storage + lane;
  }
};

}  // namespace qt
