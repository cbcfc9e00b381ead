// Chains of d coordinates that move at once and share what drives them; no matrix is stored.
//
// Given the state and an atom of the noise the coordinates are independent, and each goes to one of
// two levels: `far` with its chance, else `near`. A row of the transition matrix is therefore a sum
// over atoms of products, and is walked leaf by leaf: the three branching coordinates of least
// stride make a block of at most eight leaves, the others a list of (weight, offset) in which
// neighbours differ by small strides, so that states that follow each other share cache lines.
//
// Tables are [state][atom][coordinate]; the index of a state has its first coordinate slowest.
// IEEE + and * only, in a fixed order for a fixed number of threads.
#include <cstdint>
#include <thread>
#include <vector>

#define QT_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

constexpr int INNER = 3;            // coordinates in a block
constexpr int MOST_DIMENSIONS = 24; // 2^21 listed leaves, 24 MiB for each thread
constexpr int64_t PORTION = 256;    // states that a thread takes at once

struct Table {
    int32_t dimension, levels, atoms;
    const uint8_t *near, *far;
    const double *chance, *probability;
    int64_t first, count; // the table holds states first .. first + count - 1
};

// The leaves of one state and atom: weight[j] * part[i] goes to offset[j] + place[i].
struct Leaves {
    std::vector<double> weight;
    std::vector<int32_t> offset;
    double part[1 << INNER];
    int32_t place[1 << INNER];
    int outer, inner;

    explicit Leaves(int dimension)
        : weight(size_t(1) << (dimension > INNER ? dimension - INNER : 0)), offset(weight.size()) {}

    void grow(const Table &table, int64_t row, double mass) {
        const int64_t at = row * table.dimension;
        int32_t shift[MOST_DIMENSIONS], base = 0, stride = 1;
        double chance[MOST_DIMENSIONS];
        int branches = 0;
        for (int k = table.dimension - 1; k >= 0; --k, stride *= table.levels) {
            const double p = table.chance[at + k];
            const int32_t near = table.near[at + k], far = table.far[at + k];
            base += stride * near;
            if (near != far && p > 0.0) {
                shift[branches] = (far - near) * stride;
                chance[branches++] = p;
            }
        }
        const int last = branches < INNER ? branches : INNER;
        weight[0] = mass, offset[0] = base, outer = 1;
        for (int b = last; b < branches; ++b, outer *= 2)
            split(weight.data(), offset.data(), outer, chance[b], shift[b]);
        part[0] = 1.0, place[0] = 0, inner = 1;
        for (int b = 0; b < last; ++b, inner *= 2)
            split(part, place, inner, chance[b], shift[b]);
    }

    static void split(double *w, int32_t *to, int size, double p, int32_t shift) {
        const double stays = 1.0 - p;
        for (int j = 0; j < size; ++j) {
            w[size + j] = w[j] * p;
            to[size + j] = to[j] + shift;
            w[j] *= stays;
        }
    }
};

// Leaves of a state are different states, so a block may be read before it is written.
struct Scatter {
    double *out;

    template <int INNER_SIZE> void block(const Leaves &leaves) const {
        for (int j = 0; j < leaves.outer; ++j) {
            double *to = out + leaves.offset[j];
            const double w = leaves.weight[j];
            double sum[INNER_SIZE];
            for (int i = 0; i < INNER_SIZE; ++i) sum[i] = to[leaves.place[i]] + w * leaves.part[i];
            for (int i = 0; i < INNER_SIZE; ++i) to[leaves.place[i]] = sum[i];
        }
    }
};

// The same with the rounding error of every addition kept in a second array (Knuth's two-sum).
struct CompensatedScatter {
    double *out, *error;

    template <int INNER_SIZE> void block(const Leaves &leaves) const {
        for (int j = 0; j < leaves.outer; ++j)
            for (int i = 0; i < INNER_SIZE; ++i) {
                const int32_t at = leaves.offset[j] + leaves.place[i];
                const double a = out[at], b = leaves.weight[j] * leaves.part[i], s = a + b;
                const double of_a = s - b, of_b = s - of_a;
                out[at] = s;
                error[at] += (a - of_a) + (b - of_b);
            }
    }
};

template <class To> void spread(const Leaves &leaves, const To &to) {
    switch (leaves.inner) {
    case 1: return to.template block<1>(leaves);
    case 2: return to.template block<2>(leaves);
    case 4: return to.template block<4>(leaves);
    default: return to.template block<8>(leaves);
    }
}

template <class To> void advance(const Table &table, const double *in, const To &to, int64_t begin,
                                 int64_t portions) {
    Leaves leaves(table.dimension);
    for (int64_t from = begin * PORTION; from < table.count; from += portions * PORTION)
        for (int64_t s = from; s < from + PORTION && s < table.count; ++s) {
            const double mass = in[table.first + s];
            if (mass == 0.0) continue;
            for (int32_t a = 0; a < table.atoms; ++a) {
                leaves.grow(table, s * table.atoms + a, mass * table.probability[a]);
                spread(leaves, to);
            }
        }
}

double mean_over(const Leaves &leaves, const double *f) {
    double total = 0.0;
    for (int j = 0; j < leaves.outer; ++j) {
        double block = 0.0;
        for (int i = 0; i < leaves.inner; ++i)
            block += leaves.part[i] * f[leaves.offset[j] + leaves.place[i]];
        total += leaves.weight[j] * block;
    }
    return total;
}

void expect(const Table &table, const double *f, double *out, int64_t begin, int64_t portions) {
    Leaves leaves(table.dimension);
    for (int64_t from = begin * PORTION; from < table.count; from += portions * PORTION)
        for (int64_t s = from; s < from + PORTION && s < table.count; ++s) {
            double total = 0.0;
            for (int32_t a = 0; a < table.atoms; ++a) {
                leaves.grow(table, s * table.atoms + a, table.probability[a]);
                total += mean_over(leaves, f);
            }
            out[table.first + s] = total;
        }
}

template <class Work> void in_parallel(int threads, const Work &work) {
    std::vector<std::thread> others;
    for (int t = 1; t < threads; ++t) others.emplace_back(work, t);
    work(0);
    for (auto &other : others) other.join();
}

} // namespace

// out += in P over the states of the table. out, and error unless it is null, have one array of
// `states` numbers for each thread, to be added by the caller.
QT_EXPORT int qt_joint_advance(int32_t dimension, int32_t levels, int32_t atoms, const uint8_t *near,
                               const uint8_t *far, const double *chance, const double *probability,
                               int64_t first, int64_t count, int64_t states, const double *in,
                               double *out, double *error, int32_t threads) {
    if (dimension < 1 || dimension > MOST_DIMENSIONS || threads < 1) return 1;
    const Table table{dimension, levels, atoms, near, far, chance, probability, first, count};
    in_parallel(threads, [&](int t) {
        if (error)
            advance(table, in, CompensatedScatter{out + t * states, error + t * states}, t, threads);
        else
            advance(table, in, Scatter{out + t * states}, t, threads);
    });
    return 0;
}

// out = P f on the states of the table.
QT_EXPORT int qt_joint_expect(int32_t dimension, int32_t levels, int32_t atoms, const uint8_t *near,
                              const uint8_t *far, const double *chance, const double *probability,
                              int64_t first, int64_t count, const double *f, double *out,
                              int32_t threads) {
    if (dimension < 1 || dimension > MOST_DIMENSIONS || threads < 1) return 1;
    const Table table{dimension, levels, atoms, near, far, chance, probability, first, count};
    in_parallel(threads, [&](int t) { expect(table, f, out, t, threads); });
    return 0;
}
