// Philox4x32-10 [salmon2011] and the counter layout of qtheory.streams.
#pragma once

#include "core.h"

namespace qt {

// Purposes of a word, as in qtheory.streams.Stream; kernels draw the first two.
enum Stream : uint32_t {
  STREAM_MOVE = 0,
  STREAM_MOMENT = 1,
  STREAM_INITIALISE = 2,
  STREAM_READ = 3,
  STREAM_DATA = 4,
  STREAM_ACTIVATE = 5,
};

struct Words {
  uint32_t lane[4];
};

// The 64 bits of a product. On a GPU by its halves: ptxas joins them into one instruction, but adds
// zero to the high half of a product that is written in 64 bits.
struct Product {
  uint32_t high, low;
};

QT_FN Product product(uint32_t a, uint32_t b) {
#if defined(__CUDA_ARCH__)
  return Product{__umulhi(a, b), a * b};
#else
  uint64_t whole = uint64_t{a} * b;
  return Product{uint32_t(whole >> 32), uint32_t(whole)};
#endif
}

QT_FN Words philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t seed) {
  uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
  for (int round = 0; round < 10; ++round) {
    Product a = product(0xD2511F53u, c0), b = product(0xCD9E8D57u, c2);
    c0 = b.high ^ c1 ^ k0;
    c1 = b.low;
    c2 = a.high ^ c3 ^ k1;
    c3 = a.low;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return Words{{c0, c1, c2, c3}};
}

// The second number of a block's counter. It is the same for 2^32 blocks.
QT_FN uint32_t counter_high(uint64_t block, Stream stream) {
  return uint32_t(block >> 32) | (uint32_t(stream) << 24);
}

// The four words of elements 4 block .. 4 block + 3 of a tensor.
QT_FN Words words_of_block(uint64_t seed, uint32_t iteration, uint32_t tensor, Stream stream,
                           uint64_t block) {
  return philox(uint32_t(block), counter_high(block, stream), iteration, tensor, seed);
}

}  // namespace qt
