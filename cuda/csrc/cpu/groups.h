// Groups of numbers, each with statistics of its own: sums in float64 whose order is fixed. A group is
// cut into parts, lanes of a part are added in halves, then the parts in order.
#pragma once

#include "numbers.h"
#include "pool.h"
#include "sums.h"

#include <algorithm>

namespace qt {

constexpr int64_t READ_RUN = 576;              // latents, as many as words are made at once
constexpr int64_t READ_PART = 8 * READ_RUN;    // whose sums are added first
constexpr int64_t READ_TASK = 64 * READ_RUN;   // that a thread takes at a time, at least
constexpr int64_t READ_WHOLE = 65536;          // a group that is taken whole stays in the cache

// Of a group, or of a part of it.
struct ReadSums {
  double first = 0.0, second = 0.0;
  int64_t count = 0;
  uint32_t largest = 0;  // the bits of |x|, whose order is that of numbers; NaN is above all

  void add(const ReadSums &other) {
    first += other.first, second += other.second, count += other.count;
    largest = largest > other.largest ? largest : other.largest;
  }
};

// The work of a group, part by part: stages measure parts and settle what their sums say of the
// group, then all is written, unless a stage has done that. Groups that fit the cache are taken
// whole.
template <class Work>
void for_groups(const Work &work, int64_t groups, int64_t row, int32_t threads) {
  const int64_t parts = (row + READ_PART - 1) / READ_PART, all = groups * parts;
  const auto length = [&](int64_t part) { return minimum64(READ_PART, row - part * READ_PART); };
  if (row <= READ_WHOLE) {
    const int64_t turn = row < READ_TASK ? READ_TASK / (row > 0 ? row : 1) : 1;
    parallel((groups + turn - 1) / turn, threads, [&](int64_t number) {
      for (int64_t g = number * turn; g < minimum64((number + 1) * turn, groups); ++g) {
        for (int stage = work.first; stage < work.last; ++stage) {
          ReadSums sums;
          for (int64_t p = 0; p < parts; ++p) sums.add(work.measure(stage, g, p * READ_PART, length(p)));
          work.settle(stage, g, sums);
        }
        for (int64_t p = 0; p < parts && work.apart; ++p) work.write(g, p * READ_PART, length(p));
      }
    });
    return;
  }
  constexpr int64_t turn = READ_TASK / READ_PART;
  const auto every = [&](const auto &body) {
    parallel((all + turn - 1) / turn, threads, [&](int64_t number) {
      for (int64_t k = number * turn; k < minimum64((number + 1) * turn, all); ++k)
        body(k, k / parts, k % parts);
    });
  };
  std::vector<ReadSums> sums(static_cast<size_t>(all));
  for (int stage = work.first; stage < work.last; ++stage) {
    every([&](int64_t k, int64_t g, int64_t p) {
      sums[size_t(k)] = work.measure(stage, g, p * READ_PART, length(p));
    });
    FloatEnvironment environment;
    for (int64_t g = 0; g < groups; ++g) {
      ReadSums sum;
      for (int64_t p = 0; p < parts; ++p) sum.add(sums[size_t(g * parts + p)]);
      work.settle(stage, g, sum);
    }
  }
  if (work.apart) every([&](int64_t, int64_t g, int64_t p) { work.write(g, p * READ_PART, length(p)); });
}

// Calls body(start, count) for the runs of a part.
template <class Body>
void for_runs_of(int64_t start, int64_t count, const Body &body) {
  for (int64_t i = 0; i < count; i += READ_RUN) body(start + i, minimum64(READ_RUN, count - i));
}

// The size of rank floor(zeros n + 1/2) among n latents from the smallest on, 0 before the first. The
// upper bits, whose order is that of sizes, say where it is; those who share them are sorted.
template <class As>
float size_of_rank(const typename As::Stored *x, int64_t count, double zeros) {
  constexpr int dropped = 19;
  int64_t rank = int64_t(zeros * double(count) + 0.5);
  if (rank == 0) return 0.0f;
  std::vector<int64_t> counts(size_t(1) << (31 - dropped));
  const auto each = [&](const auto &body) {
    for_runs_of(0, count, [&](int64_t at, int64_t length) {
      alignas(64) float wide[READ_RUN];
      const float *from = widened_run(As{}, x + at, length, wide);
      for (int64_t i = 0; i < length; ++i) body(bits(absolute(from[i])));
    });
  };
  each([&](uint32_t size) { ++counts[size >> dropped]; });
  uint32_t place = 0;
  for (; rank > counts[place]; ++place) rank -= counts[place];
  std::vector<uint32_t> sizes;
  sizes.reserve(size_t(counts[place]));
  each([&](uint32_t size) {
    if (size >> dropped == place) sizes.push_back(size);
  });
  std::nth_element(sizes.begin(), sizes.begin() + (rank - 1), sizes.end());
  return real(sizes[size_t(rank - 1)]);
}

}  // namespace qt
