// Chains that move by at most b: state elimination without subtraction in O(N b^2), carried in
// two doubles. above[j * size + k] goes from k to k + j + 1, below[j * size + k] to k - j - 1.
//
// States are taken out from the last down. A window holds the rows of the b + 1 states that are
// touched, state k in slot k mod (b + 1), its columns being those slots, the exit and a reward.
#include "segments.h"
#include <new>

using qt::DoubleDouble;
using qt::Segment;

namespace {

struct Band {
    const double *above, *below;
    int64_t size;
    int width; // b

    QT_INLINE double up(int64_t from, int by) const { return above[(by - 1) * size + from]; }
    QT_INLINE double down(int64_t from, int by) const { return below[(by - 1) * size + from]; }
};

template <int W>
struct Window {
    alignas(64) double hi[W][W], lo[W][W];

    QT_INLINE void clear(int slot, int slots) {
        for (int c = 0; c < W; ++c) hi[slot][c] = lo[slot][c] = 0.0;
        for (int r = 0; r < slots; ++r) hi[r][slot] = lo[r][slot] = 0.0;
    }

    // Brings in state k < 0 as nothing, else its moves to and from k + 1 ... k + b.
    QT_INLINE void load(const Band& band, int64_t k, const double* exits, const double* rewards) {
        int slots = band.width + 1, slot = int((k + slots) % slots);
        clear(slot, slots);
        if (k < 0) return;
        for (int by = 1; by <= band.width && k + by < band.size; ++by) {
            int other = int((k + by) % slots);
            hi[slot][other] = band.up(k, by);
            hi[other][slot] = band.down(k + by, by);
        }
        if (exits) hi[slot][slots] = exits[k];
        if (rewards) hi[slot][slots + 1] = rewards[k];
    }

    // Adds share * row to row i.
    QT_INLINE void add(int i, DoubleDouble share, const double* row_hi, const double* row_lo) {
        for (int c = 0; c < W; ++c) {
            DoubleDouble sum = DoubleDouble(hi[i][c], lo[i][c]) + share * DoubleDouble(row_hi[c], row_lo[c]);
            hi[i][c] = sum.hi, lo[i][c] = sum.lo;
        }
    }
};

// Sum of the first `count` numbers, by halves.
template <int W>
QT_INLINE DoubleDouble sum_of(const double* hi, const double* lo, int count) {
    alignas(64) double high[W], low[W];
    for (int c = 0; c < W; ++c) high[c] = c < count ? hi[c] : 0.0, low[c] = c < count ? lo[c] : 0.0;
    for (int half = W / 2; half > 0; half /= 2)
        for (int c = 0; c < half; ++c) {
            DoubleDouble sum = DoubleDouble(high[c], low[c]) + DoubleDouble(high[c + half], low[c + half]);
            high[c] = sum.hi, low[c] = sum.lo;
        }
    return {high[0], low[0]};
}

// Takes out states size-1 ... last. factor[2 * (n * b + j)], two doubles each, becomes
//   law:    P(n-1-j -> n) / S_n when n is taken out
//   totals: P(n -> n-1-j) / S_n;  and constant[2 * n], the reward of n / S_n.
// Returns -1, or the state whose S_n is zero.
template <int W>
QT_INLINE int64_t eliminate(const Band& band, const double* exits, const double* rewards, int64_t last,
                         double* factor, double* constant) {
    Window<W> window;
    int b = band.width, slots = b + 1;
    for (int r = 0; r < W; ++r)
        for (int c = 0; c < W; ++c) window.hi[r][c] = window.lo[r][c] = 0.0;
    for (int64_t k = band.size - 1; k >= band.size - slots; --k) window.load(band, k, exits, rewards);
    alignas(64) double row_hi[W], row_lo[W];
    for (int64_t n = band.size - 1; n >= last; --n) {
        int slot = int(n % slots);
        for (int c = 0; c < W; ++c) row_hi[c] = window.hi[slot][c], row_lo[c] = window.lo[slot][c];
        row_hi[slot] = row_lo[slot] = 0.0;
        DoubleDouble leaving = sum_of<W>(row_hi, row_lo, slots + 1);
        if (leaving.hi == 0.0) return n;
        DoubleDouble inverse = DoubleDouble(1.0) / leaving;
        for (int j = 0; j < b; ++j) {
            int64_t at = 2 * (n * b + j);
            int other = slot - 1 - j < 0 ? slot - 1 - j + slots : slot - 1 - j;
            DoubleDouble share = DoubleDouble(window.hi[other][slot], window.lo[other][slot]) * inverse;
            if (share.hi != 0.0) window.add(other, share, row_hi, row_lo);
            DoubleDouble kept = constant ? DoubleDouble(row_hi[other], row_lo[other]) * inverse : share;
            factor[at] = kept.hi, factor[at + 1] = kept.lo;
        }
        if (constant) {
            DoubleDouble share = DoubleDouble(row_hi[slots + 1], row_lo[slots + 1]) * inverse;
            constant[2 * n] = share.hi, constant[2 * n + 1] = share.lo;
        }
        window.load(band, n - slots, exits, rewards);
    }
    return -1;
}

#define QT_ELIMINATION(W)                                                                         \
    QT_CLONES int64_t eliminate_##W(const Band& band, const double* exits, const double* rewards, \
                                    int64_t last, double* factor, double* constant) {             \
        return eliminate<W>(band, exits, rewards, last, factor, constant);                        \
    }
QT_ELIMINATION(4)
QT_ELIMINATION(8)
QT_ELIMINATION(16)
QT_ELIMINATION(32)
QT_ELIMINATION(64)

int64_t eliminate_any(const Band& band, const double* exits, const double* rewards, int64_t last,
                      double* factor, double* constant) {
    int columns = band.width + 3;
    auto chosen = columns <= 4 ? eliminate_4 : columns <= 8 ? eliminate_8 : columns <= 16 ? eliminate_16
                : columns <= 32 ? eliminate_32 : eliminate_64;
    return chosen(band, exits, rewards, last, factor, constant);
}

// sum of factor[j] * before[j], before[j] being the number of state n - 1 - j, kept in a ring.
QT_INLINE DoubleDouble combined(const double* factor, const DoubleDouble* ring, int64_t n, int b) {
    DoubleDouble sum(0.0);
    int64_t count = n < b ? n : b;
    for (int64_t j = count - 1; j >= 0; --j) // the newest last: only its term has to be waited for
        sum = sum + DoubleDouble(factor[2 * j], factor[2 * j + 1]) * ring[(n - 1 - j) & 63];
    return sum;
}

QT_CLONES
void totals_of(const double* factor, const double* constant, int64_t size, int b, double* totals) {
    DoubleDouble ring[64];
    for (int64_t n = 0; n < size; ++n) {
        DoubleDouble now(constant[2 * n], constant[2 * n + 1]);
        if (n) now = now + combined(factor + 2 * n * b, ring, n, b);
        ring[n & 63] = now;
        totals[n] = now.hi;
    }
}

// weight[0] = 1 and the others from those before them, in segments. 1 if the weights of the last b
// states span more than a double's range.
QT_CLONES
int weights_of(const double* factor, int64_t size, int b, double* weight, std::vector<Segment>& segments) {
    DoubleDouble ring[64] = {}, sum(0.0);
    int64_t first = 0, exponent = 0;
    for (int64_t n = 0; n < size; ++n) {
        DoubleDouble now = n ? combined(factor + 2 * n * b, ring, n, b) : DoubleDouble(1.0);
        ring[n & 63] = now;
        weight[n] = now.hi;
        sum = sum + now;
        if (now.hi < 0x1p+300 && now.hi >= 0x1p-300) continue;
        double most = 0.0;
        for (int64_t j = n; j >= 0 && j > n - b; --j) most = std::max(most, ring[j & 63].hi);
        if (!(most < 0x1p+900)) return 1;
        int power;
        std::frexp(most, &power);
        if (power > -300 && power < 300) power = 0;
        for (int64_t j = n; j >= 0 && j > n - b; --j) {
            DoubleDouble& x = ring[j & 63];
            x = qt::scaled(x, -power);
            if (x.hi < 0x1p-800) return 1;
        }
        if (power == 0) continue;
        segments.push_back({first, exponent, sum});
        first = n + 1, exponent += power, sum = DoubleDouble(0.0);
    }
    segments.push_back({first, exponent, sum});
    return 0;
}

} // namespace

// The stationary law. The chain is irreducible and b <= 61; factor is room for 2 b numbers of each
// state. Returns -1, the state that can not be taken out, size if the weights of b neighbours
// differ by more than 2^500, or size + 1 if memory is short.
QT_EXPORT int64_t qt_chain_banded_law(const double* above, const double* below, int64_t size, int32_t width,
                                      double* factor, double* law) {
    Band band{above, below, size, width};
    int64_t stuck = eliminate_any(band, nullptr, nullptr, 1, factor, nullptr);
    if (stuck >= 0) return stuck;
    try {
        std::vector<Segment> segments;
        if (weights_of(factor, size, width, law, segments)) return size;
        qt::normalise(law, size, segments);
        return -1;
    } catch (const std::bad_alloc&) {
        return size + 1;
    }
}

// Mean total reward from each state until exit. factor as above, constant 2 numbers of each state.
// Returns -1 or the state that can not be taken out.
QT_EXPORT int64_t qt_chain_banded_totals(const double* above, const double* below, int64_t size, int32_t width,
                                         const double* exits, const double* rewards, double* factor,
                                         double* constant, double* totals) {
    Band band{above, below, size, width};
    int64_t stuck = eliminate_any(band, exits, rewards, 0, factor, constant);
    if (stuck >= 0) return stuck;
    totals_of(factor, constant, size, width, totals);
    return -1;
}
