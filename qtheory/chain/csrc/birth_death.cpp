// Chains that move to neighbours only: up[k] from k to k + 1, down[k] from k + 1 to k.
// Laws and times are carried in two doubles, so that a million states cost no digit.
#include "segments.h"
#include <algorithm>
#include <cstring>
#include <new>

using qt::DoubleDouble;
using qt::Segment;

namespace {

constexpr int64_t BLOCK = 256;
constexpr double LARGE = 0x1p+400, SMALL = 0x1p-400;

QT_INLINE bool within(const double* values, int64_t count) {
    double least = LARGE;
    for (int64_t k = 0; k < count; ++k) least = std::min(least, values[k]);
    return least >= SMALL;
}

// Quotients of a block; where a number is tiny the powers of two go to `shift`.
QT_INLINE void quotients(const double* a, const double* b, int64_t count, double* hi, double* lo, int* shift) {
    if (within(a, count) && within(b, count)) {
        std::memset(shift, 0, sizeof(int) * count);
        for (int64_t k = 0; k < count; ++k) {
            DoubleDouble q = qt::quotient(a[k], b[k]);
            hi[k] = q.hi, lo[k] = q.lo;
        }
        return;
    }
    for (int64_t k = 0; k < count; ++k) {
        int of_a, of_b;
        double x = std::frexp(a[k], &of_a), y = std::frexp(b[k], &of_b);
        DoubleDouble q = qt::quotient(x, y);
        hi[k] = q.hi, lo[k] = q.lo, shift[k] = of_a - of_b;
    }
}

// weight[0] = 1, weight[k+1] = weight[k] up[k] / down[k], in segments.
QT_CLONES
void weigh(const double* up, const double* down, int64_t size, double* weight,
           std::vector<Segment>& segments) {
    double hi[BLOCK], lo[BLOCK];
    int shift[BLOCK];
    DoubleDouble now(1.0), sum(1.0);
    int64_t first = 0, exponent = 0;
    weight[0] = 1.0;
    for (int64_t at = 0; at + 1 < size; at += BLOCK) {
        int64_t count = std::min(BLOCK, size - 1 - at);
        quotients(up + at, down + at, count, hi, lo, shift);
        for (int64_t k = 0; k < count; ++k) {
            now = now * DoubleDouble(hi[k], lo[k]);
            if (shift[k] != 0 || !(now.hi < LARGE) || now.hi < SMALL) {
                segments.push_back({first, exponent, sum});
                int power;
                std::frexp(now.hi, &power);
                now = qt::scaled(now, -power);
                exponent += int64_t(power) + shift[k];
                first = at + k + 1;
                sum = DoubleDouble(0.0);
            }
            weight[at + k + 1] = now.hi;
            sum = sum + now;
        }
    }
    segments.push_back({first, exponent, sum});
}

// time[k], mean iterations from first + k to `count`, the last of them: one sum of positive terms.
QT_CLONES
void climb(const double* up, const double* down, int64_t count, double* time) {
    double rise[BLOCK], rise_lo[BLOCK], back[BLOCK], back_lo[BLOCK];
    DoubleDouble now(0.0);
    for (int64_t at = 0; at < count; at += BLOCK) {
        int64_t length = std::min(BLOCK, count - at);
        for (int64_t k = 0; k < length; ++k) {
            DoubleDouble q = qt::quotient(1.0, up[at + k]);
            rise[k] = q.hi, rise_lo[k] = q.lo;
        }
        for (int64_t k = at == 0; k < length; ++k) {
            DoubleDouble q = qt::quotient(down[at + k - 1], up[at + k]);
            back[k] = q.hi, back_lo[k] = q.lo;
        }
        if (at == 0) back[0] = back_lo[0] = 0.0;
        for (int64_t k = 0; k < length; ++k) {
            now = DoubleDouble(rise[k], rise_lo[k]) + DoubleDouble(back[k], back_lo[k]) * now;
            time[at + k] = now.hi;
        }
    }
    DoubleDouble sum(0.0);
    for (int64_t k = count - 1; k >= 0; --k) {
        sum = sum + DoubleDouble(time[k]);
        time[k] = sum.hi;
    }
}

} // namespace

// The stationary law of `size` states; all up and down are positive. 1 if memory is short.
QT_EXPORT int qt_chain_birth_death_law(const double* up, const double* down, int64_t size, double* law) {
    try {
        std::vector<Segment> segments;
        weigh(up, down, size, law, segments);
        qt::normalise(law, size, segments);
        return 0;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}

// time[k] = mean iterations from k to `count`, for k < count; down has count - 1 entries.
// All up are positive; down[k] = 0 is allowed.
QT_EXPORT void qt_chain_birth_death_climb(const double* up, const double* down, int64_t count, double* time) {
    climb(up, down, count, time);
}
