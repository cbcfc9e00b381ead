// Batch norm followed by a stair, run by run: statistics, the stair, and the two passes backwards.
// Nothing is kept for the backward pass but the input: its window is made again from it.
#pragma once

#include "../batch_norm.h"
#include "stairs.h"
#include "sums.h"

namespace qt {

constexpr int64_t COLUMN_ROWS = 256;  // rows of channels_last in a task, and in a partial sum

// Where a task begins and how many elements and channels a run has; numbers of channels, one for
// each element of a run, come from tables of one row for each number.
template <int N>
class Runs {
 public:
  Runs(const Batch &batch, const float *table) : batch_(batch), table_(table) {}

  static int64_t tasks(const Batch &batch) {
    const int64_t rows = rows_of_task(batch);
    return (batch.rows + rows - 1) / rows;
  }

  // body(element, count, numbers, channel, row) for the runs of a task, done(row) after a plane.
  template <class Body, class Done>
  void run(int64_t task, const Body &body, const Done &done) {
    const int64_t begin = task * rows_of_task(batch_);
    const int64_t rows = rows_of_task(batch_) < batch_.rows - begin ? rows_of_task(batch_)
                                                                   : batch_.rows - begin;
    const int64_t c = batch_.channels;
    if (batch_.planes) {
      for (int64_t row = begin; row < begin + rows; ++row) {
        spread(row % c, 0, batch_.length < STAIR_RUN ? batch_.length : STAIR_RUN);
        pieces(row * batch_.length, batch_.length, STAIR_RUN,
               [&](int64_t at, int64_t n) { body(at, n, numbers_, row % c, row); });
        done(row);
      }
    } else if (c <= STAIR_RUN) {
      const int64_t period = STAIR_RUN / c * c;
      spread(0, 1, period);
      pieces(begin * c, rows * c, period,
             [&](int64_t at, int64_t n) { body(at, n, numbers_, 0, begin); });
    } else {
      for (int64_t row = begin; row < begin + rows; ++row)
        pieces(row * c, c, STAIR_RUN, [&](int64_t at, int64_t n) {
          for (int k = 0; k < N; ++k) numbers_[k] = table_ + k * c + (at - row * c);
          body(at, n, numbers_, at - row * c, row);
        });
    }
  }

 private:
  static int64_t rows_of_task(const Batch &batch) {
    if (!batch.planes) return COLUMN_ROWS;
    return batch.length < STAIR_TASK ? (STAIR_TASK + batch.length - 1) / batch.length : 1;
  }

  template <class Body>
  static void pieces(int64_t start, int64_t count, int64_t length, const Body &body) {
    for (int64_t done = 0; done < count; done += length)
      body(start + done, count - done < length ? count - done : length);
  }

  // Fills the buffers with the numbers of a channel, or of channels 0, 1, ... in turn.
  void spread(int64_t channel, int64_t step, int64_t count) {
    for (int k = 0; k < N; ++k) {
      const float *from = table_ + k * batch_.channels + channel;
      for (int64_t i = 0, c = 0; i < count; ++i, c += step) {
        if (c == batch_.channels) c = 0;
        buffer_[k][i] = from[c];
      }
      numbers_[k] = buffer_[k];
    }
  }

  const Batch &batch_;
  const float *table_;
  const float *numbers_[N + 1];
  alignas(64) float buffer_[N + 1][STAIR_RUN];
};

template <class As>
const float *as_floats(const typename As::Stored *x, int64_t count, float *buffer) {
  if constexpr (sizeof(*x) == sizeof(float)) return (const float *)x;
  for (int64_t i = 0; i < count; ++i) buffer[i] = float(As::load(x[i]));
  return buffer;
}

// The two sums of each channel, sums[0 .. channels) and on, of what `make` writes for a run.
template <int N, class Make>
void sum_channels(const Batch &batch, const float *table, double *sums, int32_t threads,
                  const Make &make) {
  const int64_t c = batch.channels;
  const int64_t parts = batch.planes ? batch.rows / c : Runs<N>::tasks(batch);
  std::vector<double> partial(size_t(parts * 2 * c));  // one after the other for each part
  parallel(Runs<N>::tasks(batch), threads, [&](int64_t task) {
    alignas(64) float a[STAIR_RUN], b[STAIR_RUN];
    Runs<N> runs(batch, table);
    PlaneSums plane;
    runs.run(
        task,
        [&](int64_t at, int64_t n, const float *const *numbers, int64_t channel, int64_t) {
          const float *first = a, *second = b;
          make(at, n, numbers, a, b, first, second);
          double *out = partial.data() + (batch.planes ? 0 : task * 2 * c) + channel;
          if (batch.planes)
            plane.add(first, second, n);
          else if (n < c)
            add_columns(first, second, 1, n, c, out, out + c);
          else
            add_columns(first, second, n / c, c, c, out, out + c);
        },
        [&](int64_t row) {
          double both[2];
          plane.finish(both);
          double *out = partial.data() + row / c * 2 * c + row % c;
          out[0] = both[0], out[c] = both[1];
          plane = PlaneSums();
        });
  });
  for (int64_t i = 0; i < 2 * c; ++i) sums[i] = 0.0;
  for (int64_t part = 0; part < parts; ++part)
    for (int64_t i = 0; i < 2 * c; ++i) sums[i] += partial[size_t(part * 2 * c + i)];
}

template <class As>
void batch_moments(const Batch &batch, const void *x, double *sums, int32_t threads) {
  sum_channels<0>(batch, nullptr, sums, threads,
                  [&](int64_t at, int64_t n, const float *const *, float *a, float *,
                      const float *&first, const float *&second) {
                    first = second = as_floats<As>((const typename As::Stored *)x + at, n, a);
                  });
}

template <class As>
void batch_stair(const Stair &stair, const Batch &batch, const void *x, const float *table, void *z,
                 int32_t threads) {
  using Stored = typename As::Stored;
  const auto run = stair.steps == 1 ? stair_run<AsFloat32, As, 1> : stair_run<AsFloat32, As, 0>;
  parallel(Runs<3>::tasks(batch), threads, [&](int64_t task) {
    alignas(64) float y[STAIR_RUN];
    Runs<3> runs(batch, table);
    runs.run(
        task,
        [&](int64_t at, int64_t n, const float *const *numbers, int64_t, int64_t) {
          const float *__restrict centre = numbers[0], *__restrict gain = numbers[1];
          const float *__restrict shift = numbers[2];
          const Stored *__restrict from = (const Stored *)x + at;
          for (int64_t i = 0; i < n; ++i)
            y[i] = normalised(float(As::load(from[i])) - centre[i], gain[i], shift[i]);
          run(stair, 0.0, y, n, (Stored *)z + at, nullptr);
        },
        [](int64_t) {});
  });
}

// d = gradient times slope, and x - centre, of a run. `numbers`: centre, gain, shift.
template <class As>
void deviations(const Stair &stair, double half_width, const void *x, const void *gradient,
                int64_t at, int64_t n, const float *const *numbers, float *__restrict d,
                float *__restrict deviation) {
  alignas(64) float y[STAIR_RUN];
  const float *__restrict centre = numbers[0], *__restrict gain = numbers[1];
  const float *__restrict shift = numbers[2];
  const typename As::Stored *__restrict from = (const typename As::Stored *)x + at;
  const typename As::Stored *__restrict g = (const typename As::Stored *)gradient + at;
  if (stair.steps == 1 && !stair.triangular) {  // what most networks have, in one pass
    const float t = float(stair.threshold[0]), a = float(half_width);
    const float peak = height<float>(stair, 0, half_width);
    const int32_t folded = stair.folded;
    for (int64_t i = 0; i < n; ++i) {
      deviation[i] = float(As::load(from[i])) - centre[i];
      const float u = fold(folded, normalised(deviation[i], gain[i], shift[i]));
      d[i] = (within(u, t, a) ? peak : 0.0f) * float(As::load(g[i]));
    }
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    deviation[i] = float(As::load(from[i])) - centre[i];
    y[i] = normalised(deviation[i], gain[i], shift[i]);
  }
  slopes_of_run(stair, half_width, y, n, d);
  for (int64_t i = 0; i < n; ++i) d[i] *= float(As::load(g[i]));
}

template <class As>
void batch_stair_sums(const Stair &stair, double half_width, const Batch &batch, const void *x,
                      const void *gradient, const float *table, double *sums, int32_t threads) {
  sum_channels<3>(batch, table, sums, threads,
                  [&](int64_t at, int64_t n, const float *const *numbers, float *a, float *b,
                      const float *&, const float *&) {
                    deviations<As>(stair, half_width, x, gradient, at, n, numbers, a, b);
                  });
}

// `table`: centre, gain, shift, mean of d, slant.
template <class As>
void batch_stair_slope(const Stair &stair, double half_width, const Batch &batch, const void *x,
                       const void *gradient, const float *table, void *out, int32_t threads) {
  using Stored = typename As::Stored;
  parallel(Runs<5>::tasks(batch), threads, [&](int64_t task) {
    alignas(64) float d[STAIR_RUN], deviation[STAIR_RUN];
    Runs<5> runs(batch, table);
    runs.run(
        task,
        [&](int64_t at, int64_t n, const float *const *numbers, int64_t, int64_t) {
          deviations<As>(stair, half_width, x, gradient, at, n, numbers, d, deviation);
          const float *__restrict gain = numbers[1], *__restrict mean = numbers[3];
          const float *__restrict slant = numbers[4];
          Stored *__restrict to = (Stored *)out + at;
          for (int64_t i = 0; i < n; ++i)
            to[i] = As::store(returned(d[i], deviation[i], mean[i], slant[i], gain[i]));
        },
        [](int64_t) {});
  });
}

template <class Body>
int for_batch(const Batch &batch, const Body &body) {
  switch (batch.type) {
    case 0: return body(AsFloat32{}), 0;
    case 1: return body(AsBFloat16{}), 0;
    case 2: return body(AsFloat16{}), 0;
  }
  return 1;
}

}  // namespace qt

// Sums of x and of x squared of each channel. These functions return 0, or 1 for an unknown type.
extern "C" __attribute__((visibility("default"))) int qt_batch_moments(
    const qt::Batch *batch, const void *x, double *sums, int32_t threads) {
  return qt::for_batch(*batch, [&](auto as) {
    qt::batch_moments<decltype(as)>(*batch, x, sums, threads);
  });
}

extern "C" __attribute__((visibility("default"))) int qt_batch_stair(
    const qt::Stair *stair, const qt::Batch *batch, const void *x, const float *table, void *z,
    int32_t threads) {
  return qt::for_batch(*batch, [&](auto as) {
    qt::batch_stair<decltype(as)>(*stair, *batch, x, table, z, threads);
  });
}

// Sums of d and of d (x - centre) of each channel.
extern "C" __attribute__((visibility("default"))) int qt_batch_stair_sums(
    const qt::Stair *stair, const double *half_width, const qt::Batch *batch, const void *x,
    const void *gradient, const float *table, double *sums, int32_t threads) {
  return qt::for_batch(*batch, [&](auto as) {
    qt::batch_stair_sums<decltype(as)>(*stair, *half_width, *batch, x, gradient, table, sums, threads);
  });
}

extern "C" __attribute__((visibility("default"))) int qt_batch_stair_slope(
    const qt::Stair *stair, const double *half_width, const qt::Batch *batch, const void *x,
    const void *gradient, const float *table, void *out, int32_t threads) {
  return qt::for_batch(*batch, [&](auto as) {
    qt::batch_stair_slope<decltype(as)>(*stair, *half_width, *batch, x, gradient, table, out, threads);
  });
}
