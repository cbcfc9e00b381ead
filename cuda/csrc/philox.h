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

QT_FN Words philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t seed) {
  uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
  for (int round = 0; round < 10; ++round) {
    uint64_t a = uint64_t{0xD2511F53u} * c0;
    uint64_t b = uint64_t{0xCD9E8D57u} * c2;
    c0 = uint32_t(b >> 32) ^ c1 ^ k0;
    c1 = uint32_t(b);
    c2 = uint32_t(a >> 32) ^ c3 ^ k1;
    c3 = uint32_t(a);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return Words{{c0, c1, c2, c3}};
}

// The four words of elements 4 block .. 4 block + 3 of a tensor.
QT_FN Words words_of_block(uint64_t seed, uint32_t iteration, uint32_t tensor, Stream stream,
                           uint64_t block) {
  uint32_t high = uint32_t(block >> 32) | (uint32_t(stream) << 24);
  return philox(uint32_t(block), high, iteration, tensor, seed);
}

}  // namespace qt
