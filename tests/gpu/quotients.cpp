// The proof of tame.h, by going through all that could fail. Prints what does; returns 1 if anything.
#include <stdio.h>

#include <initializer_list>

static int guess_ulp = 0;
#define QT_GUESS_ULP guess_ulp
#include "cpu/step.h"

using namespace qt;

// Every mantissa, every guess. An inverse that is not the nearest float must be one of the two
// nearest, with the exact inverse between them, within 2^-19 ulp of their middle.
static uint64_t wrong_inverses() {
  uint64_t wrong = 0;
  for (uint32_t m = 0; m < 1u << 23; ++m) {
    const float q = real(0x3f800000u | m);
    const double exact = 1.0 / double(q);
    for (int ulp = -2; ulp <= 2; ++ulp) {
      const float r = refined(q, real(bits(1.0f / q) + uint32_t(ulp)));
      const double error = (double(r) - exact) * 0x1p24;  // in ulp of numbers in 1/2 .. 1
      wrong += !(error <= 0.5 + 0x1p-19 && error >= -0.5 - 0x1p-19);
    }
  }
  return wrong;
}

// Every pair of mantissas n, q whose quotient lies within 8 / (2 q) ulp of the middle j of two floats:
// n 2^s = j q + d for an odd j of 25 bits, with the nearest inverse. Those that are wrong with another
// inverse that `refined` makes are kept.
struct Pair {
  uint32_t n, q;
};
static Pair exceptions[8];
static uint32_t excepted = 0;

static uint64_t wrong_quotients(uint64_t &cases) {
  uint64_t wrong = 0;
  for (uint32_t q = 1u << 23; q < 1u << 24; ++q) {
    const float divisor = real(0x3f800000u | (q & 0x7fffffu)), nearest = 1.0f / divisor;
    const int twos = __builtin_ctz(q);
    uint64_t inverse = q >> twos;  // of the odd part, modulo 2^64, by Newton
    for (int i = 0; i < 5; ++i) inverse *= 2 - uint64_t(q >> twos) * inverse;
    for (int s = 24; s <= 25; ++s)
      for (int64_t d = -8; d <= 8; ++d) {
        if (d == 0 || d & ((1 << twos) - 1)) continue;
        const uint64_t modulus = uint64_t{1} << (s - twos);
        for (uint64_t j = uint64_t(-(d >> twos)) * inverse & (modulus - 1); j < 1u << 25; j += modulus) {
          const uint64_t n = (j * q + uint64_t(d)) >> s;
          if (j < 1u << 24 || !(j & 1) || n < 1u << 23 || n >= 1u << 24 || (s == 24) != (n >= q)) continue;
          const float dividend = real(0x3f800000u | (uint32_t(n) & 0x7fffffu));
          const uint32_t want = bits(dividend / divisor);
          wrong += bits(quotient(dividend, divisor, nearest)) != want;
          bool refinable = true;
          for (int ulp = -2; ulp <= 2; ++ulp) {
            const float r = refined(divisor, real(bits(nearest) + uint32_t(ulp)));
            refinable &= bits(quotient(dividend, divisor, r)) == want;
          }
          if (!refinable) exceptions[excepted++ % 8] = Pair{uint32_t(n), q};
          ++cases;
        }
      }
  }
  return wrong;
}

// What tanh divides, told by a spec that `over` takes.
struct Told : Spec {
  mutable Pair pair;
};
static inline float over(const Told &told, float n, float q) {
  told.pair = Pair{(bits(n) & 0x7fffffu) | 1u << 23, (bits(q) & 0x7fffffu) | 1u << 23};
  return n;
}

// Every argument of tanh from 1 on, for an exception: their denominators end just below a power of
// two, and that of 1 is 1.49.
static uint64_t wrong_tanh() {
  uint64_t wrong = 0;
  Told told = {};
  for (uint32_t b = bits(1.0f); b <= bits(9.1f); ++b) {
    tanh_rational(told, real(b));
    for (uint32_t k = 0; k < excepted && k < 8; ++k)
      wrong += (told.pair.n == exceptions[k].n) & (told.pair.q == exceptions[k].q);
  }
  return wrong;
}

static uint64_t state = 1;

static uint32_t random_bits() {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return uint32_t(state >> 32);
}

// Moves by words around every threshold, plain and tame, as a GPU and as a CPU makes them, of increments
// of every size. A rule that may
// go to any level works for each of them: on few levels, and less often.
template <class Rule>
static uint64_t wrong_moves(uint64_t &draws) {
  const float spacings[] = {1.0f, 0.5f, 0.3f, 2.0f / 255, 7.0f, 0x1p-40f, 0x1.8p39f, 0x1.8p-110f};
  const float numbers[] = {0.0f, 0x1p-24f, 0.25f, 1.0f, 3.0f, 0x1p24f, 0x1p80f};
  uint64_t wrong = 0;
  const bool any = Rule::destinations(Spec{1.0f, 0.0f, 256, {}}) == 256;
  for (int i = 0; i < (any ? 40000 : 400000); ++i) {
    const uint32_t which = random_bits();
    const int32_t size = 2 + int32_t(which >> 8) % (any ? 4 : 255);
    const Spec spec = {spacings[which % 8], float(which >> 16 & 1), size,
                       {numbers[which % 7], which & 64 ? 1.0f : 0.125f, float(which >> 7 & 1), 0.0f}};
    const Tame tame = tamed(spec);
    float x = real(random_bits());
    if (i % 2) x = spec.spacing * (float(int32_t(random_bits())) * (i % 4 == 1 ? 0x1p-30f : 0x1p-23f));
    if (i % 16 == 1) x = spec.spacing * 0.5f * float(int32_t(random_bits() % 9) - 4);  // ties
    if (!is_tame(spec) || !(absolute(x) < tame_reach(tame))) continue;
    guess_ulp = int(which >> 24) % 5 - 2;
    const int32_t index = int32_t(random_bits() % uint32_t(size));
    auto outcomes = Rule::outcomes(spec, index, x);
    for (int k = 0; k < Rule::destinations(spec) - 1; ++k) {
      const uint32_t t = uint32_t(value(outcomes.threshold(k)));
      for (uint32_t word : {t - 1, t, t + 1, 0u, ~0u, random_bits()}) {
        const int32_t next = step<Rule>(spec, index, x, word);
        const auto stored = [&](const auto &any_spec) {
          return next_code<Rule>(any_spec, int8_t(index - centre(spec)), x, word) + centre(spec);
        };
        wrong += next != step<Rule>(tame, index, x, word);
        wrong += (next != stored(spec)) | (next != with_quick(spec, stored));
        ++draws;
      }
    }
  }
  return wrong;
}

int main() {
  uint64_t cases = 0, draws = 0, moves = 0;
  const uint64_t inverses = wrong_inverses(), quotients = wrong_quotients(cases), tanhs = wrong_tanh();
#define QT_MOVES(rule) moves += wrong_moves<rule>(draws);
  QT_ALGORITHMS(QT_MOVES)
  printf("%llu of 41943040 inverses, %llu of %llu quotients, %llu of %u exceptions in tanh, "
         "%llu of %llu moves\n",
         (unsigned long long)inverses, (unsigned long long)quotients, (unsigned long long)cases,
         (unsigned long long)tanhs, excepted, (unsigned long long)moves, (unsigned long long)draws);
  return inverses || quotients || tanhs || excepted != 3 || moves || cases < 40000000 || draws < 5000000;
}
