// Quotients without the tests for zeros, denormals and overflow that a division makes, for numbers
// that are known to be tame. Most increments are; a GPU asks once for several weights, and takes
// the plain functions for those that are not.
//
// Tame is a spec whose spacing lies in 2^-40 .. 2^40 and whose parameters that are not 0 lie in
// 2^-24 .. 2^24, with increments below 2^22 spacings. Every threshold is then that of the plain
// functions:
//
// 1. `refined` is within 1/2 + 2^-19 ulp of 1 / q, for a guess within 2 ulp. Only the mantissa of q
//    matters, and a test goes through all of them.
// 2. With the nearest inverse `quotient` is n / q rounded to nearest wherever q is in 2^-40 .. 2^40
//    and |n / q| in 2^-60 .. 2^62: n is above 2^-100, so that the last bit of n - q a is above
//    2^-149, and the last step rounds a number within 2^-22 ulp of n / q. It can only err where n / q
//    lies that close to the middle of two floats, n 2^s = (2 k + 1) q + d for mantissas n, q and a
//    small d. These are few for each q, and a test goes through all. With a refined inverse three of
//    them are wrong, as 1 / (2 - 2^-23) is. `over` is for numerators and denominators that are none
//    of these: the test goes through every argument of tanh.
// 3. Below 2^-60 both quotients are below 2^-59, whole spacings 0, and probabilities 0 in words of
//    32 bits: tanh(2^24 2^-59) is below 2^-34. The Metropolis rule takes exp(-2^-35), which is 1,
//    whatever the sign; the Langevin rule's h is below 2^-36, and 0 for it. Rounding compares with 1/2,
//    and Bop with 2^-48 at least.
#pragma once

#include "core.h"

namespace qt {

struct Tame : Spec {
  float inverse;  // of the spacing, rounded to nearest
};

QT_FN bool between(float x, float least, float most) { return x >= least && x <= most; }

QT_FN bool is_tame(const Spec &spec) {
  bool tame = between(spec.spacing, 0x1p-40f, 0x1p40f);
  for (float p : spec.parameter) tame &= p == 0.0f || between(absolute(p), 0x1p-24f, 0x1p24f);
  return tame;
}

QT_FN Tame tamed(const Spec &spec) { return Tame{{spec}, 1.0f / spec.spacing}; }

// Increments below this are tame.
QT_FN float tame_reach(const Tame &spec) { return spec.spacing * 0x1p22f; }

QT_FN float fused(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  float d;
  asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(d) : "f"(a), "f"(b), "f"(c));
  return d;
#else
  return __builtin_fmaf(a, b, c);
#endif
}

// 1 / q within an ulp; tests make it worse.
QT_FN float guessed_inverse(float q) {
#if defined(__CUDA_ARCH__)
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(q));
  return r;
#elif defined(QT_GUESS_ULP)
  return real(bits(1.0f / q) + uint32_t(QT_GUESS_ULP));
#else
  return 1.0f / q;
#endif
}

QT_FN float refined(float q, float guess) { return fused(guess, fused(-q, guess, 1.0f), guess); }

QT_FN float quotient(float n, float q, float inverse) {
  const float a = n * inverse;
  return fused(inverse, fused(-q, a, n), a);
}

// n / q, plain and tame.
QT_FN float over(const Spec &, float n, float q) { return n / q; }

QT_FN float over(const Tame &, float n, float q) {
  return quotient(n, q, refined(q, guessed_inverse(q)));
}

// n / q for a q that all weights share.
QT_FN float over_shared(const Spec &, float n, float q) { return n / q; }

// The increment in spacings, rounded once.
QT_FN float spacings(const Spec &spec, float increment) { return increment / spec.spacing; }

QT_FN float spacings(const Tame &spec, float increment) {
  return quotient(increment, spec.spacing, spec.inverse);
}

// Beyond the size of the lattice it makes no difference how far. A tame distance fits an integer.
QT_FN float reached(const Spec &spec, float distance) { return minimum(distance, float(spec.size)); }

QT_FN float reached(const Tame &, float distance) { return distance; }

// -1 for numbers below 0, else 0; of a tame one also -1 for -0, which moves nothing.
QT_FN int32_t sign(const Spec &, float x) { return -int32_t(x < 0.0f); }

QT_FN int32_t sign(const Tame &, float x) { return int32_t(bits(x)) >> 31; }

QT_FN bool is_number(const Spec &, float increment) { return increment == increment; }

QT_FN bool is_number(const Tame &, float) { return true; }

}  // namespace qt
