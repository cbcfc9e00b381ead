// Minimum degree on a quotient graph [amestoy1996]: a front that was taken out stays as one element,
// the list of its rest states, and never as the moves between these. States that have the same
// neighbours are one state with a weight. Degrees are bounded from above, the fronts are exact.
//
// States with very many neighbours are left out of the graph and taken out last of all; fronts
// that they are linked with get them at the end.
#include "minimum_degree.h"
#include <algorithm>
#include <cmath>
#include <utility>

namespace qt {
namespace {

using List = std::vector<int32_t>;

void release(List& list) { List().swap(list); }

struct Graph {
    int32_t size;
    std::vector<List> near, elements, front; // of a state; of a state; of an element
    List weight, degree, extent, outside, head, after, before, next_member, last_member;
    std::vector<int64_t> mark, seen;
    std::vector<char> gone; // elements that another one has taken over
    List hubs;
    int64_t stamp = 0;

    Graph(int32_t n, const int64_t* starts, const int64_t* targets)
        : size(n), near(n), elements(n), front(n), weight(n, 1), degree(n), extent(n), outside(n), head(n, -1),
          after(n, -1), before(n, -1), next_member(n, -1), last_member(n), mark(n, 0), seen(n, 0), gone(n, 0) {
        for (int32_t i = 0; i < n; ++i) {
            last_member[i] = i;
            for (int64_t at = starts[i]; at < starts[i + 1]; ++at) {
                near[i].push_back(int32_t(targets[at]));
                near[targets[at]].push_back(i);
            }
        }
        double many = std::max(16.0, 10.0 * std::sqrt(double(n)));
        for (int32_t i = 0; i < n; ++i) {
            std::sort(near[i].begin(), near[i].end());
            near[i].erase(std::unique(near[i].begin(), near[i].end()), near[i].end());
            if (double(near[i].size()) > many) hubs.push_back(i), weight[i] = 0;
        }
        for (int32_t i = 0; i < n; ++i) {
            if (weight[i] == 0) continue;
            auto kept = [&](int32_t j) { return weight[j] > 0; };
            degree[i] = int32_t(std::count_if(near[i].begin(), near[i].end(), kept));
            link(i);
        }
    }

    void link(int32_t i) {
        int32_t& first = head[degree[i]];
        after[i] = first, before[i] = -1;
        if (first >= 0) before[first] = i;
        first = i;
    }

    void unlink(int32_t i) {
        (before[i] >= 0 ? after[before[i]] : head[degree[i]]) = after[i];
        if (after[i] >= 0) before[after[i]] = before[i];
    }

    // State `other` becomes part of `state`.
    void merge(int32_t state, int32_t other) {
        weight[state] += weight[other], weight[other] = 0;
        next_member[last_member[state]] = other;
        last_member[state] = last_member[other];
        release(near[other]), release(elements[other]);
    }

    void members(int32_t state, List& into) const {
        for (int32_t i = state; i >= 0; i = next_member[i]) into.push_back(i);
    }

    // The states around p: those of its own moves and of its elements, which end here.
    List around(int32_t p) {
        List found;
        mark[p] = ++stamp;
        auto take = [&](const List& states) {
            for (int32_t i : states)
                if (weight[i] > 0 && mark[i] != stamp) mark[i] = stamp, found.push_back(i);
        };
        take(near[p]);
        for (int32_t e : elements[p])
            if (!gone[e]) take(front[e]), gone[e] = 1, release(front[e]);
        release(near[p]), release(elements[p]);
        return found;
    }

    // How much of each element lies outside of `states`.
    void measure(const List& states) {
        for (int32_t i : states)
            for (int32_t e : elements[i]) {
                if (gone[e]) continue;
                if (seen[e] != stamp) seen[e] = stamp, outside[e] = extent[e];
                outside[e] -= weight[i];
            }
    }

    // Drops from state i what element p says already; returns the weight of what is left.
    int64_t prune(int32_t i) {
        int64_t left = 0;
        auto known = [&](int32_t e) {
            if (!gone[e] && outside[e] == 0) gone[e] = 1, release(front[e]);
            if (!gone[e]) left += outside[e];
            return bool(gone[e]);
        };
        auto covered = [&](int32_t j) {
            bool drop = weight[j] == 0 || mark[j] == stamp;
            if (!drop) left += weight[j];
            return drop;
        };
        elements[i].erase(std::remove_if(elements[i].begin(), elements[i].end(), known), elements[i].end());
        near[i].erase(std::remove_if(near[i].begin(), near[i].end(), covered), near[i].end());
        return left;
    }

    bool alike(int32_t i, int32_t j) const { return elements[i] == elements[j] && near[i] == near[j]; }

    // Makes one of states with equal neighbours.
    void merge_alike(const List& states) {
        std::vector<std::pair<uint64_t, int32_t>> keys;
        for (int32_t i : states) {
            if (weight[i] == 0) continue;
            std::sort(elements[i].begin(), elements[i].end()); // near lists are sorted and stay so
            uint64_t key = 0;
            for (int32_t e : elements[i]) key = (key ^ uint64_t(e)) * 0x9E3779B97F4A7C15u;
            for (int32_t j : near[i]) key = (key ^ uint64_t(j)) * 0xC2B2AE3D27D4EB4Fu;
            keys.push_back({key, i});
        }
        std::sort(keys.begin(), keys.end());
        for (size_t a = 0; a < keys.size(); ++a)
            for (size_t b = a + 1; b < keys.size() && keys[b].first == keys[a].first; ++b) {
                int32_t i = keys[a].second, j = keys[b].second;
                if (weight[i] == 0 || weight[j] == 0 || !alike(i, j)) continue;
                degree[i] -= weight[j];
                merge(i, j);
            }
    }
};

void close(Fronts& found) {
    found.pivot_at.push_back(int64_t(found.pivots.size()));
    found.rest_at.push_back(int64_t(found.rest.size()));
}

double numbers_of(double pivots, double rest) { return pivots * rest + 0.5 * pivots * (pivots - 1); }

// Takes out all states but hubs; fronts in the order found.
void eliminate(Graph& graph, Fronts& found, double most) {
    int32_t left = graph.size - int32_t(graph.hubs.size()), least = 0;
    double numbers = 0.0;
    close(found);
    while (left > 0) {
        while (graph.head[least] < 0) ++least;
        int32_t p = graph.head[least];
        graph.unlink(p);
        List around = graph.around(p);
        graph.measure(around);
        int64_t reach = 0;
        std::vector<int64_t> bound(around.size());
        for (size_t a = 0; a < around.size(); ++a) {
            int32_t i = around[a];
            graph.unlink(i);
            bound[a] = graph.prune(i);
            if (graph.near[i].empty() && graph.elements[i].empty()) {
                graph.merge(p, i);
                continue;
            }
            graph.elements[i].push_back(p);
            reach += graph.weight[i];
        }
        left -= graph.weight[p];
        for (size_t a = 0; a < around.size(); ++a) {
            int32_t i = around[a];
            if (graph.weight[i] == 0) continue;
            int64_t others = reach - graph.weight[i];
            int64_t upper = std::min<int64_t>({bound[a] + others, graph.degree[i] + others, left - graph.weight[i]});
            graph.degree[i] = int32_t(std::max<int64_t>(upper, 0));
        }
        graph.merge_alike(around);
        List& front = graph.front[p];
        for (int32_t i : around) {
            if (graph.weight[i] == 0) continue;
            graph.degree[i] = std::max(graph.degree[i], 0);
            front.push_back(i), graph.link(i);
            least = std::min(least, graph.degree[i]);
        }
        graph.extent[p] = int32_t(reach);
        double pivots = graph.weight[p];
        graph.weight[p] = 0;
        numbers += numbers_of(pivots, double(reach));
        found.products += pivots * double(reach) * double(reach) + pivots * pivots * (double(reach) + pivots / 3.0);
        if (numbers > most) found.complete = false;
        if (!found.complete) continue;
        graph.members(p, found.pivots);
        for (int32_t i : front) graph.members(i, found.rest);
        close(found);
    }
    found.numbers = numbers;
}

// Which front takes over from each, and the order in which a front follows those it takes over.
List parents(const Fronts& fronts, int32_t size) {
    List front_of(size, -1), parent(fronts.size(), -1);
    for (int64_t f = 0; f < fronts.size(); ++f)
        for (int64_t at = fronts.pivot_at[f]; at < fronts.pivot_at[f + 1]; ++at) front_of[fronts.pivots[at]] = int32_t(f);
    for (int64_t f = 0; f < fronts.size(); ++f)
        for (int64_t at = fronts.rest_at[f]; at < fronts.rest_at[f + 1]; ++at) {
            int32_t next = front_of[fronts.rest[at]];
            if (parent[f] < 0 || next < parent[f]) parent[f] = next;
        }
    return parent;
}

List depth_first(const List& parent) {
    List child(parent.size(), -1), sibling(parent.size(), -1), order, stack;
    for (size_t f = parent.size(); f-- > 0;)
        if (parent[f] >= 0) sibling[f] = child[parent[f]], child[parent[f]] = int32_t(f);
    for (size_t root = 0; root < parent.size(); ++root) {
        if (parent[root] >= 0) continue;
        stack.push_back(int32_t(root));
        while (!stack.empty()) {
            int32_t f = stack.back(), next = child[f];
            if (next < 0)
                order.push_back(f), stack.pop_back();
            else
                child[f] = sibling[next], stack.push_back(next);
        }
    }
    return order;
}

// The fronts in that order, hubs added, and what they cost.
Fronts arranged(const Graph& graph, const Fronts& raw) {
    List parent = parents(raw, graph.size), order = depth_first(parent), place(parent.size());
    std::vector<List> linked(graph.size); // hubs of each state
    for (int32_t hub : graph.hubs)
        for (int32_t i : graph.near[hub]) linked[i].push_back(hub);
    for (size_t k = 0; k < order.size(); ++k) place[order[k]] = int32_t(k);
    Fronts found;
    std::vector<List> hubs(order.size() + 1);
    int32_t last = graph.hubs.empty() ? -1 : int32_t(order.size());
    close(found);
    for (size_t k = 0; k < order.size(); ++k) {
        int32_t f = order[k];
        List& more = hubs[k];
        for (int64_t at = raw.pivot_at[f]; at < raw.pivot_at[f + 1]; ++at) {
            found.pivots.push_back(raw.pivots[at]);
            more.insert(more.end(), linked[raw.pivots[at]].begin(), linked[raw.pivots[at]].end());
        }
        std::sort(more.begin(), more.end());
        more.erase(std::unique(more.begin(), more.end()), more.end());
        found.rest.insert(found.rest.end(), raw.rest.begin() + raw.rest_at[f], raw.rest.begin() + raw.rest_at[f + 1]);
        found.rest.insert(found.rest.end(), more.begin(), more.end());
        int32_t next = parent[f] >= 0 ? place[parent[f]] : more.empty() ? -1 : last;
        found.parent.push_back(next);
        if (next >= 0) hubs[next].insert(hubs[next].end(), more.begin(), more.end());
        release(more);
        close(found);
    }
    if (last >= 0) {
        found.pivots.insert(found.pivots.end(), graph.hubs.begin(), graph.hubs.end());
        found.parent.push_back(-1);
        close(found);
    }
    return found;
}

void count(Fronts& fronts) {
    double held = 0.0;
    std::vector<double> given(fronts.size(), 0.0); // numbers that a front gets from those before it
    for (int64_t f = 0; f < fronts.size(); ++f) {
        double pivots = double(fronts.pivot_at[f + 1] - fronts.pivot_at[f]);
        double rest = double(fronts.rest_at[f + 1] - fronts.rest_at[f]);
        fronts.numbers += numbers_of(pivots, rest);
        for (double k = 0; k < pivots; ++k) fronts.products += (rest + k) * (rest + k);
        fronts.peak = std::max(fronts.peak, held + (pivots + rest) * (pivots + rest) + rest * rest);
        held += rest * rest - given[f];
        if (fronts.parent[f] >= 0) given[fronts.parent[f]] += rest * rest;
    }
}

} // namespace

Fronts minimum_degree(int32_t size, const int64_t* starts, const int64_t* targets, double most) {
    Graph graph(size, starts, targets);
    Fronts raw;
    eliminate(graph, raw, most);
    if (!raw.complete) return raw;
    Fronts found = arranged(graph, raw);
    count(found);
    return found;
}

} // namespace qt
