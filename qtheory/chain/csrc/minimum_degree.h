// In which order to take out the states of a sparse chain, so that few new moves appear.
#pragma once
#include <cstdint>
#include <vector>

namespace qt {

// Fronts: states that are taken out together (pivots), and the states they are linked with then
// (rest), whose rows change. A front comes after those whose first rest state is among its pivots.
struct Fronts {
    std::vector<int32_t> pivots, rest;      // of all fronts, one after the other
    std::vector<int64_t> pivot_at, rest_at; // where those of each begin, and where the last ends
    std::vector<int32_t> parent;            // the front that takes over, -1 if there is none
    double numbers = 0.0, products = 0.0;   // that are kept, and that are worked out
    double peak = 0.0;                      // numbers of the fronts that are held at once, at most
    bool complete = true;                   // false if more than `most` numbers: only counts hold

    int64_t size() const { return int64_t(pivot_at.size()) - 1; }
};

// Moves from i are targets[starts[i]] .. targets[starts[i + 1] - 1].
Fronts minimum_degree(int32_t size, const int64_t* starts, const int64_t* targets, double most);

} // namespace qt
