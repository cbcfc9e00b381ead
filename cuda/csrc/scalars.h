// The scalars of an iteration from a base optimiser's numbers. Where the iteration is counted in
// device memory, a captured graph replays a training step, and not the same numbers for ever.
#pragma once

#include "optimisers.h"

namespace qt {

// Begins an iteration: counts it, and makes its scalars. If an infinity was found among the
// gradients, the iteration is not counted and every scalar is NaN, by which no moment and no weight
// changes. Returns whether there is such an optimiser.
QT_FN bool next_scalars(int32_t optimiser, const Numbers &numbers, int64_t &iteration,
                        const float *found_inf, Scalars &scalars) {
  const bool skip = found_inf && *found_inf != 0.0f;
  const uint64_t now = uint64_t(iteration) + 1;
  int32_t place = 0;
#define QT_SCALARS(any, name) \
  if (optimiser == place++) scalars = name::scalars(numbers, now);
  QT_OPTIMISERS_OF(QT_SCALARS, any)
  QT_SCALARS(any, normalized)
#undef QT_SCALARS
  if (optimiser < 0 || optimiser >= place) return false;
  const float nan = real(NAN_BITS);
  if (skip) scalars = Scalars{nan, nan, nan, nan, nan, nan, nan};
  if (!skip) iteration = int64_t(now);
  return true;
}

}  // namespace qt
