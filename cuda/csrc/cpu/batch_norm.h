// Batch norm followed by a stair, run by run: statistics, the stair, and the two passes backwards.
// Nothing is kept for the backward pass but the input: its window is made again from it.
#pragma once

#include "../batch_norm.h"
#include "numbers.h"
#include "stairs.h"
#include "sums.h"

namespace qt {

// Runs of an input. Numbers of channels come from a table of N rows; a run has one of each number if
// its Each is 0 (of a plane), and one for each element if it is 1.
template <int N>
class Runs {
 public:
  template <int EACH>
  using Each = std::integral_constant<int, EACH>;

  Runs(const Batch &batch, const float *table) : batch_(batch), table_(table) {
    const int64_t c = batch.columns;
    if (batch.planes) {
      units_ = batch.rows * pieces_of_plane(batch);
      units_of_task_ = larger(1, STAIR_TASK / smaller(c, PLANE_PIECE));
      return;
    }
    const int64_t most = smaller(STAIR_RUN / c, smaller(rows_of_part(batch), batch.rows));
    period_ = c < STAIR_RUN ? most * c : c;
    runs_of_row_ = divided_up(c, STAIR_RUN);
    spread_.reserve(size_t(N * period_));
    for (int k = 0; k < N; ++k) {
      const size_t begin = spread_.size();
      for (int64_t channel = 0; channel < batch.channels; ++channel)
        spread_.insert(spread_.end(), size_t(c / batch.channels),
                       table[k * batch.channels + channel]);
      while (spread_.size() < begin + size_t(period_)) spread_.push_back(spread_[spread_.size() - size_t(c)]);
    }
  }

  int64_t tasks() const {
    if (batch_.planes) return divided_up(units_, units_of_task_);
    return parts_of(batch_) * runs_of_row_;
  }

  // body(each, element, count, numbers, part, column) for the runs of a task; of planes, done(part,
  // channel) after each part.
  template <class Body, class Done>
  void run(int64_t task, const Body &body, const Done &done) const {
    const float *numbers[N + 1];
    const int64_t c = batch_.columns;
    if (batch_.planes) {
      const int64_t pieces = pieces_of_plane(batch_);
      const int64_t end = smaller(units_, (task + 1) * units_of_task_);
      for (int64_t unit = task * units_of_task_; unit < end; ++unit) {
        const int64_t row = unit / pieces, piece = unit % pieces, channel = row % batch_.channels;
        const int64_t part = row / batch_.channels * pieces + piece;
        for (int k = 0; k < N; ++k) numbers[k] = table_ + k * batch_.channels + channel;
        const int64_t last = smaller(c, (piece + 1) * PLANE_PIECE);
        for (int64_t i = piece * PLANE_PIECE; i < last; i += STAIR_RUN)
          body(Each<0>{}, row * c + i, smaller(STAIR_RUN, last - i), numbers, part, channel);
        done(part, channel);
      }
      return;
    }
    const int64_t part = task / runs_of_row_, column = task % runs_of_row_ * STAIR_RUN;
    const int64_t begin = part * rows_of_part(batch_);
    const int64_t rows = smaller(rows_of_part(batch_), batch_.rows - begin);
    for (int k = 0; k < N; ++k) numbers[k] = spread_.data() + k * period_ + column;
    if (runs_of_row_ == 1 && c < STAIR_RUN)
      for (int64_t i = 0; i < rows * c; i += period_)
        body(Each<1>{}, begin * c + i, smaller(period_, rows * c - i), numbers, part, 0);
    else
      for (int64_t row = begin; row < begin + rows; ++row)
        body(Each<1>{}, row * c + column, smaller(STAIR_RUN, c - column), numbers, part, column);
  }

 private:
  const Batch &batch_;
  const float *table_;
  int64_t units_ = 0, units_of_task_ = 1, period_ = 0, runs_of_row_ = 1;
  std::vector<float> spread_;
};

// Threads that are worth waking for so many elements.
inline int32_t worth(int64_t elements, int32_t threads) {
  return int32_t(smaller(threads, 1 + elements / STAIR_TASK));
}

// The parts of each channel, added in strands.
inline void add_parts(const Batch &batch, const std::vector<double> &partial, double *sums,
                      int32_t threads) {
  constexpr int64_t SOME = 16;  // channels at a time
  const int64_t parts = parts_of(batch), width = width_of_part(batch), c = batch.channels;
  const int64_t length = width / c;
  parallel(divided_up(c, SOME), worth(2 * parts * width, threads), [&](int64_t task) {
    alignas(64) double strands[STRANDS][2][SOME] = {};
    const int64_t first = task * SOME, some = smaller(SOME, c - first);
    int64_t item = 0;
    for (int64_t part = 0; part < parts; ++part)
      for (int64_t l = 0; l < length; ++l, ++item)
        for (int k = 0; k < 2; ++k) {
          const double *from = partial.data() + (part * 2 + k) * width + first * length + l;
          double *to = strands[item % STRANDS][k];
          for (int64_t i = 0; i < some; ++i) to[i] += from[i * length];
        }
    for (int half = STRANDS / 2; half > 0; half /= 2)
      for (int s = 0; s < half; ++s)
        for (int k = 0; k < 2; ++k)
          for (int64_t i = 0; i < SOME; ++i) strands[s][k][i] += strands[s + half][k][i];
    for (int k = 0; k < 2; ++k)
      for (int64_t i = 0; i < some; ++i) sums[k * c + first + i] = strands[0][k][i];
  });
}

// The two sums of each channel, sums[0 .. channels) and on, of a and of a b, where `make` gives a
// and b of a run.
template <int N, class Make>
void sum_channels(const Batch &batch, const float *table, double *sums, int32_t threads,
                  const Make &make) {
  const Runs<N> runs(batch, table);
  const int64_t width = width_of_part(batch), c = batch.columns;
  std::vector<double> partial(size_t(parts_of(batch) * 2 * width));
  parallel(runs.tasks(), threads, [&](int64_t task) {
    alignas(64) float a[STAIR_RUN], b[STAIR_RUN];
    PlaneSums plane;
    runs.run(
        task,
        [&](auto each, int64_t at, int64_t n, const float *const *numbers, int64_t part,
            int64_t column) {
          const float *first = a, *second = b;
          make(each, at, n, numbers, a, b, first, second);
          if constexpr (each.value == 0) return plane.add(first, second, n);
          double *out = partial.data() + part * 2 * width + column;
          if (n < c)
            add_columns(first, second, 1, n, c, out, out + c);
          else
            add_columns(first, second, n / c, c, c, out, out + c);
        },
        [&](int64_t part, int64_t channel) {
          double both[2];
          plane.finish(both);
          double *out = partial.data() + part * 2 * width + channel;
          out[0] = both[0], out[width] = both[1];
          plane = PlaneSums();
        });
  });
  add_parts(batch, partial, sums, threads);
}

template <class As>
void batch_sums(const Batch &batch, const void *x, double *sums, int32_t threads) {
  sum_channels<0>(batch, nullptr, sums, threads,
                  [&](auto, int64_t at, int64_t n, const float *const *, float *a, float *,
                      const float *&first, const float *&second) {
                    first = second =
                        widened_run(As{}, (const typename As::Stored *)x + at, n, a);
                  });
}

// Rows of `statistics`: mean and 1 / std.
template <class As>
void batch_measure(const Batch &batch, const Norm &norm, const void *x, double *sums,
                   float *statistics, int32_t threads) {
  const int64_t c = batch.channels;
  batch_sums<As>(batch, x, sums, threads);
  if (norm.batches) *norm.batches += 1;
  const double batches = norm.batches ? double(*norm.batches) : 1.0;
  for (int64_t i = 0; i < c; ++i)
    measure_channel(batch, norm, i, batches, sums[i], sums[c + i], statistics + i,
                    statistics + c + i);
}

// Centre, gain and shift of channels, and room for two rows more.
inline std::vector<float> table_of(const Batch &batch, const Norm &norm, const float *statistics) {
  const int64_t c = batch.channels;
  std::vector<float> table(size_t(5 * c));
  for (int64_t i = 0; i < c; ++i) {
    table[size_t(i)] = statistics[i];
    table[size_t(c + i)] = gain_of(norm, i, statistics[c + i]);
    table[size_t(2 * c + i)] = shift_of(norm, i);
  }
  return table;
}

template <class As>
void batch_stair(const Stair &stair, const Batch &batch, const Norm &norm, const void *x,
                 const float *statistics, void *z, int32_t threads) {
  using Stored = typename As::Stored;
  const auto levels =
      stair.steps == 1 ? stair_levels<float, 1> : stair_levels<float, 0>;
  // Of no use where it does not suit; half widths are of no use to levels.
  const FoldedHalves<std::conditional_t<sizeof(Stored) == 2, As, AsFloat16>> folded(stair, 0.0);
  const std::vector<float> table = table_of(batch, norm, statistics);
  const Runs<3> runs(batch, table.data());
  parallel(runs.tasks(), threads, [&](int64_t task) {
    alignas(64) float wide[STAIR_RUN], y[STAIR_RUN], buffer[STAIR_RUN];
    runs.run(
        task,
        [&](auto each, int64_t at, int64_t n, const float *const *numbers, int64_t, int64_t) {
          constexpr int EACH = each.value;
          const float *__restrict centre = numbers[0], *__restrict gain = numbers[1];
          const float *__restrict shift = numbers[2];
          const float *__restrict from = widened_run(As{}, (const Stored *)x + at, n, wide);
          for (int64_t i = 0; i < n; ++i)
            y[i] = normalised(from[i] - centre[EACH * i], gain[EACH * i], shift[EACH * i]);
          Stored *to = (Stored *)z + at;
          if constexpr (sizeof(Stored) == 2)
            if (FoldedHalves<As>::suits(stair)) return folded.levels_at(stair, y, n, to);
          float *const out = room_for_run(As{}, to, buffer);
          levels(stair, y, n, out);
          round_run(As{}, out, n, to);
        },
        [](int64_t, int64_t) {});
  });
}

// d = gradient times slope, and x - centre, of a run. `numbers`: centre, gain, shift.
template <class As, int EACH>
void deviations(const Stair &stair, double half_width, const void *x, const void *gradient,
                int64_t at, int64_t n, const float *const *numbers, float *__restrict d,
                float *__restrict deviation) {
  using Stored = typename As::Stored;
  alignas(64) float y[STAIR_RUN], wide[STAIR_RUN], other[STAIR_RUN];
  const float *__restrict centre = numbers[0], *__restrict gain = numbers[1];
  const float *__restrict shift = numbers[2];
  const float *__restrict from = widened_run(As{}, (const Stored *)x + at, n, wide);
  const float *__restrict g = widened_run(As{}, (const Stored *)gradient + at, n, other);
  if (stair.steps == 1 && !stair.triangular) {  // what most networks have, in one pass
    const float t = float(stair.threshold[0]), a = float(half_width);
    const float peak = height<float>(stair, 0, half_width);
    const int32_t folded = stair.folded;
    for (int64_t i = 0; i < n; ++i) {
      deviation[i] = from[i] - centre[EACH * i];
      const float u = fold(folded, normalised(deviation[i], gain[EACH * i], shift[EACH * i]));
      d[i] = (within(u, t, a) ? peak : 0.0f) * g[i];
    }
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    deviation[i] = from[i] - centre[EACH * i];
    y[i] = normalised(deviation[i], gain[EACH * i], shift[EACH * i]);
  }
  slopes_of_run(stair, half_width, y, n, d);
  for (int64_t i = 0; i < n; ++i) d[i] *= g[i];
}

// The gradient of x, and those of weight and bias (null: not wanted). Sums are of d and of
// d (x - centre), and are made if `of_batch`, or for the two slopes.
template <class As>
void batch_stair_back(const Stair &stair, double half_width, const Batch &batch, const Norm &norm,
                      const void *x, const void *gradient, const float *statistics,
                      int32_t of_batch, void *out, double *sums, float *slopes, int32_t threads) {
  using Stored = typename As::Stored;
  const int64_t c = batch.channels;
  std::vector<float> table = table_of(batch, norm, statistics);
  if (sums) {
    sum_channels<3>(batch, table.data(), sums, threads,
                    [&](auto each, int64_t at, int64_t n, const float *const *numbers, float *a,
                        float *b, const float *&, const float *&) {
                      deviations<As, each.value>(stair, half_width, x, gradient, at, n, numbers,
                                                 a, b);
                    });
    float unused[2];
    for (int64_t i = 0; i < c; ++i) {
      float *const back = table.data() + 3 * c + i;
      return_channel(batch, statistics[c + i], sums[i], sums[c + i], slopes + i, slopes + c + i,
                     of_batch ? back : unused, of_batch ? back + c : unused + 1);
    }
  }
  const Runs<5> runs(batch, table.data());
  parallel(runs.tasks(), threads, [&](int64_t task) {
    alignas(64) float d[STAIR_RUN], deviation[STAIR_RUN], buffer[STAIR_RUN];
    runs.run(
        task,
        [&](auto each, int64_t at, int64_t n, const float *const *numbers, int64_t, int64_t) {
          constexpr int EACH = each.value;
          deviations<As, EACH>(stair, half_width, x, gradient, at, n, numbers, d, deviation);
          const float *__restrict gain = numbers[1], *__restrict mean = numbers[3];
          const float *__restrict slant = numbers[4];
          Stored *to = (Stored *)out + at;
          float *__restrict into = room_for_run(As{}, to, buffer);
          for (int64_t i = 0; i < n; ++i)
            into[i] = returned(d[i], deviation[i], mean[EACH * i], slant[EACH * i],
                               gain[EACH * i]);
          round_run(As{}, into, n, to);
        },
        [](int64_t, int64_t) {});
  });
}

template <class Body>
int for_batch(const Batch &batch, int32_t threads, const Body &body) {
  threads = worth(batch.rows * batch.columns, threads);
  switch (batch.type) {
    case 0: return body(AsFloat32{}, threads), 0;
    case 1: return body(AsBFloat16{}, threads), 0;
    case 2: return body(AsFloat16{}, threads), 0;
  }
  return 1;
}

}  // namespace qt

// Sums of x and of x squared of each channel, mean and 1 / std; running numbers are moved. These
// functions return 0, or 1 for an unknown type.
extern "C" __attribute__((visibility("default"))) int qt_batch_measure(
    const qt::Batch *batch, const qt::Norm *norm, const void *x, double *sums, float *statistics,
    int32_t threads) {
  return qt::for_batch(*batch, threads, [&](auto as, int32_t threads) {
    qt::batch_measure<decltype(as)>(*batch, *norm, x, sums, statistics, threads);
  });
}

extern "C" __attribute__((visibility("default"))) int qt_batch_stair(
    const qt::Stair *stair, const qt::Batch *batch, const qt::Norm *norm, const void *x,
    const float *statistics, void *z, int32_t threads) {
  return qt::for_batch(*batch, threads, [&](auto as, int32_t threads) {
    qt::batch_stair<decltype(as)>(*stair, *batch, *norm, x, statistics, z, threads);
  });
}

// Sums of d and of d (x - centre) of each channel, slopes of weight and bias (unless sums are null),
// and the gradient of x.
extern "C" __attribute__((visibility("default"))) int qt_batch_stair_back(
    const qt::Stair *stair, const double *half_width, const qt::Batch *batch, const qt::Norm *norm,
    const void *x, const void *gradient, const float *statistics, int32_t of_batch, void *out,
    double *sums, float *slopes, int32_t threads) {
  return qt::for_batch(*batch, threads, [&](auto as, int32_t threads) {
    qt::batch_stair_back<decltype(as)>(*stair, *half_width, *batch, *norm, x, gradient, statistics,
                                       of_batch, out, sums, slopes, threads);
  });
}
