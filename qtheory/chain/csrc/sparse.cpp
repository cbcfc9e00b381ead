// Sparse chains: state elimination without subtraction, front by front, in two doubles.
//
// A front is a small matrix of the moves among its pivots, which are taken out, and its rest. What
// the pivots leave behind, the moves among the rest, is added to the front that takes over. Each row
// is multiplied by a power of two that brings its sum near one, which rounds nothing.
#include "double_double.h"
#include "minimum_degree.h"
#include <algorithm>
#include <cmath>
#include <memory>
#include <new>

using qt::DoubleDouble;
using qt::Fronts;

namespace {

constexpr double LEAST = 0x1p-900; // below it two doubles are no longer 102 bits

// Moves by source, and the same by target.
struct Moves {
    int64_t size;
    const int64_t *starts, *targets;
    const double* probabilities;
    std::vector<int64_t> starts_in;
    std::vector<int32_t> sources;
    std::vector<double> scaled_in;
    std::vector<int32_t> power; // row i is multiplied by 2^-power[i]

    Moves(int64_t n, const int64_t* from, const int64_t* to, const double* p, const double* exits)
        : size(n), starts(from), targets(to), probabilities(p), starts_in(n + 1, 0), sources(from[n]), scaled_in(from[n]),
          power(n, 0) {
        for (int64_t i = 0; i < n; ++i) {
            double most = exits ? exits[i] : 0.0;
            for (int64_t at = from[i]; at < from[i + 1]; ++at) most = std::max(most, p[at]), ++starts_in[to[at] + 1];
            if (most > 0.0) std::frexp(most, &power[i]);
        }
        for (int64_t i = 0; i < n; ++i) starts_in[i + 1] += starts_in[i];
        std::vector<int64_t> place(starts_in.begin(), starts_in.end() - 1);
        for (int64_t i = 0; i < n; ++i)
            for (int64_t at = from[i]; at < from[i + 1]; ++at) {
                int64_t to_here = place[to[at]]++;
                sources[to_here] = int32_t(i), scaled_in[to_here] = std::ldexp(p[at], -power[i]);
            }
    }
};

struct Front {
    int64_t pivots, size; // size: pivots and rest
    std::vector<double> hi, lo;

    Front(int64_t count, int64_t all) : pivots(count), size(all), hi(all * all, 0.0), lo(all * all, 0.0) {}
    DoubleDouble at(int64_t i, int64_t j) const { return {hi[i * size + j], lo[i * size + j]}; }
    void add(int64_t i, int64_t j, DoubleDouble x) {
        DoubleDouble sum = at(i, j) + x;
        hi[i * size + j] = sum.hi, lo[i * size + j] = sum.lo;
    }
};

// Sum of the numbers after k in a row, by eight sums.
QT_INLINE DoubleDouble sum_after(const double* hi, const double* lo, int64_t k, int64_t size) {
    alignas(64) double high[8] = {}, low[8] = {};
    int64_t j = k + 1;
    for (; j + 8 <= size; j += 8)
        for (int c = 0; c < 8; ++c) {
            DoubleDouble sum = DoubleDouble(high[c], low[c]) + DoubleDouble(hi[j + c], lo[j + c]);
            high[c] = sum.hi, low[c] = sum.lo;
        }
    DoubleDouble total(0.0);
    for (; j < size; ++j) total = total + DoubleDouble(hi[j], lo[j]);
    for (int c = 0; c < 8; ++c) total = total + DoubleDouble(high[c], low[c]);
    return total;
}

// What elimination works on: numbers of each state of the front, and where the factor is kept.
struct Room {
    double *exit_hi, *exit_lo, *reward_hi, *reward_lo; // by place in the front, null for laws
    double* factor;                                    // two doubles for each pivot and later state
};

// Takes the pivots out. Kept are, for laws, the columns P_ik / S_k, else the rows P_kj / S_k and the
// rewards over S_k. Returns -1, or the place of a pivot that is not left.
QT_CLONES int64_t take_out(double* hi, double* lo, int64_t pivots, int64_t size, Room room) {
    double* kept = room.factor;
    bool law = room.exit_hi == nullptr;
    int64_t last = law && pivots == size ? pivots - 1 : pivots; // the last state of all remains
    for (int64_t k = 0; k < last; ++k) {
        double *row_hi = hi + k * size, *row_lo = lo + k * size;
        DoubleDouble leaving = sum_after(row_hi, row_lo, k, size);
        if (!law) leaving = leaving + DoubleDouble(room.exit_hi[k], room.exit_lo[k]);
        if (!(leaving.hi >= LEAST)) return k;
        DoubleDouble inverse = DoubleDouble(1.0) / leaving;
        DoubleDouble exit(0.0), reward(0.0);
        if (!law) {
            exit = DoubleDouble(room.exit_hi[k], room.exit_lo[k]);
            reward = DoubleDouble(room.reward_hi[k], room.reward_lo[k]);
        }
        for (int64_t i = k + 1; i < size; ++i) {
            DoubleDouble share = DoubleDouble(hi[i * size + k], lo[i * size + k]) * inverse;
            if (law) kept[0] = share.hi, kept[1] = share.lo, kept += 2;
            if (share.hi == 0.0) continue;
            double *to_hi = hi + i * size, *to_lo = lo + i * size;
            for (int64_t j = k + 1; j < size; ++j) {
                DoubleDouble sum = DoubleDouble(to_hi[j], to_lo[j]) + share * DoubleDouble(row_hi[j], row_lo[j]);
                to_hi[j] = sum.hi, to_lo[j] = sum.lo;
            }
            if (law) continue;
            DoubleDouble out = DoubleDouble(room.exit_hi[i], room.exit_lo[i]) + share * exit;
            DoubleDouble gain = DoubleDouble(room.reward_hi[i], room.reward_lo[i]) + share * reward;
            room.exit_hi[i] = out.hi, room.exit_lo[i] = out.lo;
            room.reward_hi[i] = gain.hi, room.reward_lo[i] = gain.lo;
        }
        if (law) continue;
        for (int64_t j = k + 1; j < size; ++j, kept += 2) {
            DoubleDouble share = DoubleDouble(row_hi[j], row_lo[j]) * inverse;
            kept[0] = share.hi, kept[1] = share.lo;
        }
        reward = reward * inverse;
        room.reward_hi[k] = reward.hi, room.reward_lo[k] = reward.lo;
    }
    return -1;
}

struct Elimination {
    const Fronts& fronts;
    const Moves& moves;
    std::vector<int64_t> place; // of a state in the order
    std::vector<int64_t> where; // of a state in the front at hand
    std::vector<double> factor;
    std::vector<double> extra; // exit and reward of each state, two doubles each, if there are any

    Elimination(const Fronts& order, const Moves& given)
        : fronts(order), moves(given), place(given.size), where(given.size), factor(size_t(2.0 * order.numbers)) {
        for (size_t k = 0; k < order.pivots.size(); ++k) place[order.pivots[k]] = int64_t(k);
    }

    // The states of a front, pivots first.
    std::vector<int32_t> states(int64_t f) const {
        std::vector<int32_t> found(fronts.pivots.begin() + fronts.pivot_at[f], fronts.pivots.begin() + fronts.pivot_at[f + 1]);
        found.insert(found.end(), fronts.rest.begin() + fronts.rest_at[f], fronts.rest.begin() + fronts.rest_at[f + 1]);
        return found;
    }

    // The moves between a pivot and the states that are not taken out before it.
    void load(Front& front, const std::vector<int32_t>& own) {
        for (int64_t k = 0; k < front.pivots; ++k) {
            int32_t i = own[k];
            for (int64_t at = moves.starts[i]; at < moves.starts[i + 1]; ++at) {
                int64_t j = moves.targets[at];
                if (place[j] > place[i]) front.add(k, where[j], std::ldexp(moves.probabilities[at], -moves.power[i]));
            }
            for (int64_t at = moves.starts_in[i]; at < moves.starts_in[i + 1]; ++at) {
                int32_t j = moves.sources[at];
                if (place[j] > place[i]) front.add(where[j], k, moves.scaled_in[at]);
            }
        }
    }

    // -1, or the state that is not left.
    int64_t run() {
        std::vector<std::vector<std::unique_ptr<Front>>> waiting(fronts.size());
        std::vector<std::vector<int32_t>> rest_of(fronts.size());
        double* kept = factor.data();
        for (int64_t f = 0; f < fronts.size(); ++f) {
            std::vector<int32_t> own = states(f);
            int64_t pivots = fronts.pivot_at[f + 1] - fronts.pivot_at[f], size = int64_t(own.size());
            Front front(pivots, size);
            for (int64_t k = 0; k < size; ++k) where[own[k]] = k;
            load(front, own);
            for (auto& before : waiting[f]) join(front, *before);
            std::vector<std::unique_ptr<Front>>().swap(waiting[f]);
            std::vector<double> extras = gathered(own);
            double* e = extras.empty() ? nullptr : extras.data();
            Room room{e, e ? e + size : e, e ? e + 2 * size : e, e ? e + 3 * size : e, kept};
            int64_t stuck = take_out(front.hi.data(), front.lo.data(), pivots, size, room);
            if (stuck >= 0) return own[stuck];
            scatter(own, extras);
            kept += 2 * (pivots * (size - pivots) + pivots * (pivots - 1) / 2);
            int32_t next = fronts.parent[f];
            if (next >= 0) waiting[next].push_back(remains(front, f));
        }
        return -1;
    }

    // The moves among the rest; `pivots` then tells which front they come from.
    static std::unique_ptr<Front> remains(const Front& front, int64_t f) {
        int64_t rest = front.size - front.pivots;
        auto found = std::make_unique<Front>(f, rest);
        for (int64_t i = 0; i < rest; ++i) {
            int64_t from = (i + front.pivots) * front.size + front.pivots;
            std::copy_n(&front.hi[from], rest, &found->hi[i * rest]);
            std::copy_n(&front.lo[from], rest, &found->lo[i * rest]);
        }
        return found;
    }

    void join(Front& front, const Front& before) const {
        const int32_t* rest = fronts.rest.data() + fronts.rest_at[before.pivots];
        for (int64_t i = 0; i < before.size; ++i)
            for (int64_t j = 0; j < before.size; ++j)
                if (i != j) front.add(where[rest[i]], where[rest[j]], before.at(i, j));
    }

    std::vector<double> gathered(const std::vector<int32_t>& own) const {
        std::vector<double> found(extra.empty() ? 0 : 4 * own.size());
        for (size_t k = 0; k < own.size() && !extra.empty(); ++k)
            for (int c = 0; c < 4; ++c) found[c * own.size() + k] = extra[4 * own[k] + c];
        return found;
    }

    void scatter(const std::vector<int32_t>& own, const std::vector<double>& found) {
        for (size_t k = 0; k < own.size() && !extra.empty(); ++k)
            for (int c = 0; c < 4; ++c) extra[4 * own[k] + c] = found[c * own.size() + k];
    }

    // visit(state, kept numbers, states after it, their count), from the last state taken out to the first.
    template <class Visit>
    void backwards(Visit visit) const {
        const double* kept = factor.data() + factor.size();
        for (int64_t f = fronts.size(); f-- > 0;) {
            std::vector<int32_t> own = states(f);
            for (int64_t k = fronts.pivot_at[f + 1] - fronts.pivot_at[f]; k-- > 0;) {
                int64_t count = int64_t(own.size()) - k - 1;
                kept -= 2 * count;
                visit(own[k], kept, own.data() + k + 1, count);
            }
        }
    }
};

struct Scaled {
    DoubleDouble fraction; // in [1/2, 1), or 0
    int64_t power;
};

Scaled normal(DoubleDouble x, int64_t power) {
    if (x.hi == 0.0) return {x, 0};
    int shift;
    std::frexp(x.hi, &shift);
    return {qt::scaled(x, -shift), power + shift};
}

int clipped(int64_t power) { return int(std::max<int64_t>(power, -4000)); }

// sum of kept[j] * weight of the state j, each with a power of two of its own.
Scaled combined(const double* kept, const int32_t* states, int64_t count, const std::vector<Scaled>& weight) {
    int64_t top = INT64_MIN;
    auto power_of = [&](int64_t j) { return weight[states[j]].power + std::ilogb(kept[2 * j]) + 1; };
    auto counts = [&](int64_t j) { return kept[2 * j] != 0.0 && weight[states[j]].fraction.hi != 0.0; };
    for (int64_t j = 0; j < count; ++j)
        if (counts(j)) top = std::max(top, power_of(j));
    DoubleDouble sum(0.0);
    for (int64_t j = 0; j < count; ++j) {
        if (!counts(j)) continue;
        int own = std::ilogb(kept[2 * j]) + 1;
        DoubleDouble share = qt::scaled({kept[2 * j], kept[2 * j + 1]}, -own);
        sum = sum + qt::scaled(share * weight[states[j]].fraction, clipped(weight[states[j]].power + own - top));
    }
    return normal(sum, top);
}

void law_of(const std::vector<Scaled>& weight, double* law) {
    int64_t top = INT64_MIN;
    for (const Scaled& w : weight)
        if (w.fraction.hi != 0.0) top = std::max(top, w.power);
    DoubleDouble total(0.0);
    for (const Scaled& w : weight) total = total + qt::scaled(w.fraction, clipped(w.power - top));
    for (size_t k = 0; k < weight.size(); ++k)
        law[k] = std::ldexp((weight[k].fraction / total).hi, clipped(weight[k].power - top));
}

double bytes_of(const Fronts& fronts) {
    return 16.0 * (fronts.numbers + fronts.peak) + 4.0 * double(fronts.rest.size());
}

// As the exported functions: whether there is room, and how much is needed; cost has three numbers.
bool fits(const Fronts& fronts, double memory, double* cost) {
    cost[0] = bytes_of(fronts), cost[1] = fronts.numbers, cost[2] = fronts.products;
    return fronts.complete && cost[0] <= memory;
}

enum : int64_t { DONE = -1, TOO_LARGE = -2, NO_MEMORY = -3 };

template <class Work>
int64_t guarded(Work work) {
    try {
        return work();
    } catch (const std::bad_alloc&) {
        return NO_MEMORY;
    }
}

} // namespace

// What elimination costs: bytes, numbers kept, products. Exact if within `memory` bytes.
QT_EXPORT int64_t qt_chain_sparse_cost(int64_t size, const int64_t* starts, const int64_t* targets, double memory,
                                       double* cost) {
    return guarded([&] {
        Fronts fronts = qt::minimum_degree(int32_t(size), starts, targets, memory / 16.0);
        return fits(fronts, memory, cost) ? DONE : TOO_LARGE;
    });
}

// The stationary law of an irreducible chain. Returns DONE, the state that is not left, or why not.
QT_EXPORT int64_t qt_chain_sparse_law(int64_t size, const int64_t* starts, const int64_t* targets,
                                      const double* probabilities, double memory, double* cost, double* law) {
    return guarded([&]() -> int64_t {
        Fronts fronts = qt::minimum_degree(int32_t(size), starts, targets, memory / 16.0);
        if (!fits(fronts, memory, cost)) return TOO_LARGE;
        Moves moves(size, starts, targets, probabilities, nullptr);
        Elimination elimination(fronts, moves);
        int64_t stuck = elimination.run();
        if (stuck >= 0) return stuck;
        std::vector<Scaled> weight(size);
        bool first = true;
        elimination.backwards([&](int32_t state, const double* kept, const int32_t* after, int64_t count) {
            weight[state] = first ? Scaled{DoubleDouble(0.5), 1} : combined(kept, after, count, weight);
            first = false;
        });
        for (int64_t k = 0; k < size; ++k) weight[k].power -= moves.power[k];
        law_of(weight, law);
        return DONE;
    });
}

// Mean total reward from each state until exit.
QT_EXPORT int64_t qt_chain_sparse_totals(int64_t size, const int64_t* starts, const int64_t* targets,
                                         const double* probabilities, double memory, double* cost,
                                         const double* exits, const double* rewards, double* totals) {
    return guarded([&]() -> int64_t {
        Fronts fronts = qt::minimum_degree(int32_t(size), starts, targets, memory / 16.0);
        if (!fits(fronts, memory, cost)) return TOO_LARGE;
        Moves moves(size, starts, targets, probabilities, exits);
        Elimination elimination(fronts, moves);
        elimination.extra.assign(4 * size, 0.0);
        for (int64_t k = 0; k < size; ++k) {
            elimination.extra[4 * k] = std::ldexp(exits[k], -moves.power[k]);
            elimination.extra[4 * k + 2] = std::ldexp(rewards[k], -moves.power[k]);
        }
        int64_t stuck = elimination.run();
        if (stuck >= 0) return stuck;
        std::vector<DoubleDouble> total(size, DoubleDouble(0.0));
        elimination.backwards([&](int32_t state, const double* kept, const int32_t* after, int64_t count) {
            DoubleDouble sum(elimination.extra[4 * state + 2], elimination.extra[4 * state + 3]);
            for (int64_t j = 0; j < count; ++j) sum = sum + DoubleDouble(kept[2 * j], kept[2 * j + 1]) * total[after[j]];
            total[state] = sum;
            totals[state] = sum.hi;
        });
        return DONE;
    });
}
