// Discrete Langevin proposals [zhang2022], with the test of Metropolis and Hastings or without.
//
// A move by d levels has the weight exp(h d - g d^2), h = x / (2 T), g = 1 / (2 a). Exponents are
// relative to the largest on the lattice, that of the best move, and none there is positive.
#pragma once

#include "../exponential.h"
#include "../walker.h"

// Loops over levels: not unrolled on a GPU, where they would fill its cache of instructions.
#if defined(__CUDACC__)
#define QT_LEVELS QT_LOOP
#else
#define QT_LEVELS _Pragma("GCC unroll 5")
#endif

namespace qt {

// A probability in units of 2^-56, in which sums and differences are exact.
QT_FN uint64_t units(float p) { return uint64_t(int64_t(p * 0x1p56f)); }

// Where one weight may go: every level. The best one takes what the shares of the others leave.
struct Langevin {
  float force, stiffness;     // h and g
  int32_t index, last, best;  // the best move, in levels
  bool adjusted;
  float mass, stay;        // of the moves from here; the share of staying, if it is adjusted
  uint64_t below, above;  // shares on either side of the best level, in units

  QT_FN float weight(int32_t move) const {
    float z = float(move - best) * (force - stiffness * float(move + best));
    float e = exp_of_minus(absolute(z));
    return z > 0.0f ? 1.0f / e : e;
  }

  // Of all moves from a level that stay on the lattice, in their order.
  QT_FN float mass_from(int32_t level) const {
    float sum = 0.0f;
    QT_LEVELS for (int32_t to = 0; to <= last; ++to) sum += weight(to - level);
    return sum;
  }

  // Under a constant force a proposal is accepted with probability min(1, mass here / mass there).
  QT_FN float staying() const {
    float kept = weight(0);
    QT_LEVELS for (int32_t level = 0; level <= last; ++level) {
      float there = mass_from(level);
      float refused = kept + weight(level - index) * (1.0f - mass / there);
      kept = there > mass ? refused : kept;
    }
    return kept / mass;
  }

  QT_FN float share(int32_t level) const {
    float there = adjusted ? mass_from(level) : mass;
    float moving = weight(level - index) / (there > mass ? there : mass);
    return adjusted && level == index ? stay : moving;
  }

  QT_FN Threshold threshold(int k) {
    const int32_t away = k - index - best;
    const uint64_t own = units(share(k));
    below += away < 0 ? own : 0;
    above -= away > 0 ? own : 0;
    const uint32_t part = uint32_t((away < 0 ? below : above) >> 24);
    return Threshold{away < 0 ? part : 0u - part, away >= 0 && part == 0};
  }

  QT_FN int32_t place(int k) const { return k; }
};

// From numbers of the rule and x spacings. EVERY: ask every level for its share, though none is needed
// below the best one, so that loops have one length for all weights.
template <bool EVERY>
QT_FN Langevin langevin(float temperature, float step, bool adjusted, int32_t size, int32_t index, float x) {
  Langevin w = {0.0f, 0.5f / step, index, size - 1, -index, adjusted, 0.0f, 0.0f, 0, 0};
  float h = absolute(0.5f * x / temperature);
  h = minimum(h, w.stiffness * float(2 * size) + 64.0f);  // beyond, the best move is certain
  h = h < 0x1p-35f ? 0.0f : h;                            // tame quotients are exact from here on
  w.force = x < 0.0f ? -h : h;
  QT_LEVELS for (int32_t k = 0; k < w.last; ++k)
    w.best += w.force > w.stiffness * float(2 * (k - index) + 1);
  w.mass = w.mass_from(index);
  if (adjusted) w.stay = w.staying();
  const int32_t first = index + w.best + 1;
  QT_LEVELS for (int32_t k = EVERY ? 0 : first; k <= w.last; ++k)
    w.above += k >= first ? units(w.share(k)) : 0;
  return w;
}

// Where a word takes a weight: a function that is called, as it is long and has loops.
QT_CALL int32_t langevin_place(float temperature, float step, bool adjusted, int32_t size, int32_t index,
                               float x, uint32_t word) {
  Langevin w = langevin<false>(temperature, step, adjusted, size, index, x);
  return picked(w, size, word);
}

// A spec whose number of levels, and whether it is adjusted, are known when its loops are compiled.
template <int LEVELS, bool ADJUSTED>
struct Unrolled : Spec {
  static constexpr int32_t size = LEVELS;
};

struct discrete_langevin {
  static constexpr int resident = 2;        // blocks on a multiprocessor, without spills
  static constexpr int most_adjusted = 16;  // levels, each of which asks for the mass of all
  static QT_FN int destinations(const Spec &spec) { return spec.size; }
  template <int LEVELS, bool ADJUSTED>
  static QT_FN bool adjusted(const Unrolled<LEVELS, ADJUSTED> &) {
    return ADJUSTED;
  }
  static QT_FN bool adjusted(const Spec &spec) {
    return spec.parameter[2] != 0.0f && spec.size <= most_adjusted;
  }

  template <class AnySpec>
  static QT_FN Langevin outcomes(const AnySpec &spec, int32_t index, float increment) {
    return langevin<false>(spec.parameter[0], spec.parameter[1], adjusted(spec), spec.size, index,
                    spacings(spec, increment));
  }
};

template <>
constexpr bool calls<discrete_langevin> = true;

template <>
struct Pick<discrete_langevin> {
  template <class AnySpec>
  static QT_FN int32_t place(const AnySpec &spec, int32_t index, float increment, uint32_t word) {
    return langevin_place(spec.parameter[0], spec.parameter[1], discrete_langevin::adjusted(spec),
                          spec.size, index, spacings(spec, increment), word);
  }

  template <int LEVELS, bool ADJUSTED>
  static QT_FN int32_t place(const Unrolled<LEVELS, ADJUSTED> &spec, int32_t index, float increment,
                             uint32_t word) {
    Langevin w = langevin<true>(spec.parameter[0], spec.parameter[1], ADJUSTED, LEVELS, index,
                                spacings(spec, increment));
    return picked(w, LEVELS, word);
  }
};

// Two, three and five levels are unrolled, and weights become vectors.
template <>
struct Levels<discrete_langevin> {
  template <class Body>
  static void with(const Spec &spec, const Body &body) {
    const bool adjusted = discrete_langevin::adjusted(spec);
    if (spec.size == 2 && !adjusted) return body(Unrolled<2, false>{spec});
    if (spec.size == 2) return body(Unrolled<2, true>{spec});
    if (spec.size == 3 && !adjusted) return body(Unrolled<3, false>{spec});
    if (spec.size == 3) return body(Unrolled<3, true>{spec});
    if (spec.size == 5 && !adjusted) return body(Unrolled<5, false>{spec});
    body(spec);
  }
};

}  // namespace qt
