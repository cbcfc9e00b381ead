// Numbers of two doubles, hi + lo with hi = hi + lo rounded: 106 bits [dekker1971; joldes2017].
// For non-negative operands, as everywhere here, +, * and / err by less than 2^-102 relative,
// while nothing underflows.
#pragma once
#include <cmath>
#include <cstdint>

#define QT_EXPORT extern "C" __attribute__((visibility("default")))
#ifndef QT_CLONES
#define QT_CLONES
#endif
// A function that is to become part of every clone has to be inlined into it.
#define QT_INLINE inline __attribute__((always_inline))

namespace qt {

struct DoubleDouble {
    double hi, lo;

    DoubleDouble() = default;
    constexpr DoubleDouble(double high, double low = 0.0) : hi(high), lo(low) {}
    explicit operator double() const { return hi; }
};

// hi + lo for |high| >= |low|, exactly.
QT_INLINE DoubleDouble quick_sum(double high, double low) {
    double sum = high + low;
    return {sum, low - (sum - high)};
}

QT_INLINE DoubleDouble exact_sum(double a, double b) {
    double sum = a + b, of_b = sum - a;
    return {sum, (a - (sum - of_b)) + (b - of_b)};
}

QT_INLINE DoubleDouble exact_product(double a, double b) {
    double product = a * b;
    return {product, std::fma(a, b, -product)};
}

QT_INLINE DoubleDouble operator+(DoubleDouble a, DoubleDouble b) {
    DoubleDouble sum = exact_sum(a.hi, b.hi);
    return quick_sum(sum.hi, sum.lo + (a.lo + b.lo));
}

// The sum of numbers of any sign: relative error below 3 2^-106, cancellation or not
// [joldes2017, Algorithm 6].
QT_INLINE DoubleDouble accurate_sum(DoubleDouble a, DoubleDouble b) {
    DoubleDouble high = exact_sum(a.hi, b.hi), low = exact_sum(a.lo, b.lo);
    high = quick_sum(high.hi, high.lo + low.hi);
    return quick_sum(high.hi, high.lo + low.lo);
}

QT_INLINE DoubleDouble operator*(DoubleDouble a, DoubleDouble b) {
    DoubleDouble product = exact_product(a.hi, b.hi);
    return quick_sum(product.hi, product.lo + (a.hi * b.lo + a.lo * b.hi));
}

// a / b of doubles: the residual of the first quotient is exact.
QT_INLINE DoubleDouble quotient(double a, double b) {
    double first = a / b;
    return quick_sum(first, std::fma(-first, b, a) / b);
}

QT_INLINE DoubleDouble operator/(DoubleDouble a, DoubleDouble b) {
    double first = a.hi / b.hi;
    double rest = std::fma(-first, b.hi, a.hi) + (a.lo - first * b.lo);
    return quick_sum(first, rest / b.hi);
}

QT_INLINE DoubleDouble scaled(DoubleDouble a, int power) {
    return {std::ldexp(a.hi, power), std::ldexp(a.lo, power)};
}

} // namespace qt
