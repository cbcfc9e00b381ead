// Weights that leave the range of a double: runs of states that share a power of two.
#pragma once
#include "double_double.h"
#include <algorithm>
#include <vector>

namespace qt {

// A run of states whose numbers share the factor 2^exponent, and their sum.
struct Segment {
    int64_t first, exponent;
    DoubleDouble sum;
};

// Divides the weights by their sum.
inline void normalise(double* weight, int64_t size, const std::vector<Segment>& segments) {
    int64_t top = INT64_MIN;
    for (const Segment& s : segments) {
        int power;
        std::frexp(s.sum.hi, &power);
        top = std::max(top, s.exponent + power);
    }
    DoubleDouble total(0.0);
    auto power_of = [top](const Segment& s) { return int(std::max<int64_t>(s.exponent - top, -4000)); };
    for (const Segment& s : segments) total = total + qt::scaled(s.sum, power_of(s));
    for (size_t i = 0; i < segments.size(); ++i) {
        int64_t end = i + 1 < segments.size() ? segments[i + 1].first : size;
        int power = power_of(segments[i]);
        // Two factors, each a power of two in a double's range: the result is rounded once if normal.
        double one = std::ldexp(1.0, power / 2), other = std::ldexp(1.0, power - power / 2);
        for (int64_t k = segments[i].first; k < end; ++k) weight[k] = weight[k] / total.hi * one * other;
    }
}

} // namespace qt
