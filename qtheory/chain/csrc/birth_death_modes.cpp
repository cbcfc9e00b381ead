// Eigenvalues and evolution of chains that move to neighbours only.
#include "double_double.h"

using qt::DoubleDouble;

namespace {

constexpr int LANES = 16;

// How many eigenvalues of I - P are below each of LANES shifts x, those of the law left out.
//
// After symmetrisation I - P = C'C with C bidiagonal, and CC' - x = LDL' has the pivots D_k,
//     t_k = up_k t_(k-1) / D_(k-1) - x,   D_k = t_k + down_k,
// of which as many are negative as eigenvalues are below x. A pivot of exactly zero is taken as
// 2^-60 down_k, which changes down_k by less than a rounding.
QT_CLONES
void count_below(const double* up, const double* down, int64_t links, const double* shifts, int64_t* counts) {
    alignas(64) double ratio[LANES], x[LANES], pivot[LANES], below[LANES];
    for (int i = 0; i < LANES; ++i) ratio[i] = 1.0, x[i] = shifts[i], below[i] = 0.0;
    for (int64_t k = 0; k < links; ++k) {
        double p = up[k], q = down[k], nearly = q * 0x1p-60;
        for (int i = 0; i < LANES; ++i) {
            double t = p * ratio[i] - x[i];
            double sum = t + q;
            pivot[i] = sum == 0.0 ? nearly : sum;
            ratio[i] = t / pivot[i];
            below[i] += pivot[i] < 0.0 ? 1.0 : 0.0; // exact up to 2^53
        }
    }
    for (int i = 0; i < LANES; ++i) counts[i] = int64_t(below[i]);
}

// The same with pivots of two doubles.
QT_CLONES
void count_below_finely(const double* up, const double* down, int64_t links, const double* shifts,
                        int64_t* counts) {
    alignas(64) double high[LANES], low[LANES], x[LANES], below[LANES];
    for (int i = 0; i < LANES; ++i) high[i] = 1.0, low[i] = 0.0, x[i] = shifts[i], below[i] = 0.0;
    for (int64_t k = 0; k < links; ++k) {
        double p = up[k], q = down[k], nearly = q * 0x1p-106;
        for (int i = 0; i < LANES; ++i) {
            DoubleDouble t = accurate_sum(DoubleDouble(p) * DoubleDouble(high[i], low[i]), -x[i]);
            DoubleDouble sum = accurate_sum(t, q);
            DoubleDouble pivot(sum.hi == 0.0 ? nearly : sum.hi, sum.lo);
            DoubleDouble ratio = t / pivot;
            high[i] = ratio.hi, low[i] = ratio.lo;
            below[i] += pivot.hi < 0.0 ? 1.0 : 0.0;
        }
    }
    for (int i = 0; i < LANES; ++i) counts[i] = int64_t(below[i]);
}

// One iteration for each factor: probabilities off the diagonal are factor times up and down.
// leaving[k] = up[k] + down[k-1].
QT_CLONES
void iterate(const double* up, const double* down, const double* leaving, int64_t size, double factor,
             const double* __restrict law, double* __restrict next) {
    next[0] = law[0] * (1.0 - factor * leaving[0]) + factor * (size > 1 ? law[1] * down[0] : 0.0);
    for (int64_t k = 1; k < size - 1; ++k)
        next[k] = law[k] * (1.0 - factor * leaving[k]) + factor * (law[k - 1] * up[k - 1] + law[k + 1] * down[k]);
    int64_t k = size - 1;
    if (k > 0) next[k] = law[k] * (1.0 - factor * leaving[k]) + factor * (law[k - 1] * up[k - 1]);
}

} // namespace

// counts[i] of 16 shifts; up and down are positive. `fine`: with pivots of two doubles.
QT_EXPORT void qt_chain_birth_death_count(const double* up, const double* down, int64_t links,
                                          const double* shifts, int32_t fine, int64_t* counts) {
    (fine ? count_below_finely : count_below)(up, down, links, shifts, counts);
}

// `law` after one iteration for each factor; `other` is room for as many numbers.
QT_EXPORT void qt_chain_birth_death_propagate(const double* up, const double* down, const double* leaving,
                                              int64_t size, const double* factors, int64_t iterations,
                                              double* law, double* other) {
    double *from = law, *to = other;
    for (int64_t i = 0; i < iterations; ++i) {
        iterate(up, down, leaving, size, factors[i], from, to);
        double* kept = from;
        from = to, to = kept;
    }
    if (from != law)
        for (int64_t k = 0; k < size; ++k) law[k] = from[k];
}
