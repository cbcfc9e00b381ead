// Metropolis and heat bath [metropolis1953]: a neighbour is proposed, and accepted by its energy.
#pragma once

#include "../exponential.h"
#include "../walker.h"

namespace qt {

struct metropolis {
  static constexpr int resident = 2;  // blocks on a multiprocessor, without spills
  static QT_FN int destinations(const Spec &) { return 3; }

  template <class AnySpec>
  static QT_FN Neighbours outcomes(const AnySpec &spec, int32_t index, float increment) {
    float temperature = spec.parameter[0], proposal = spec.parameter[1];
    bool heat_bath = spec.parameter[2] != 0.0f;
    float x = spacings(spec, increment);
    float unlikely = exp_of_minus(over_shared(spec, absolute(x), temperature));
    float likely = 1.0f;
    likely = heat_bath ? 1.0f / (1.0f + unlikely) : likely;
    unlikely = heat_bath ? unlikely / (1.0f + unlikely) : unlikely;
    float half = 0.5f * proposal;
    return neighbours(index, half * (x > 0.0f ? unlikely : likely), half * (x < 0.0f ? unlikely : likely));
  }
};

}  // namespace qt
