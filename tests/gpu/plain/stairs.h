// The emulated kernels of stairs on arrays of exactly their size, against one element at a time.
#pragma once

#include <stdio.h>

#include <memory>
#include <vector>

namespace plain {

using namespace qt;

template <class F>
F special(int64_t i) {
  const F numbers[] = {F(0.0), F(-0.0), F(0.5), F(-1.0), F(0.25), F(-0.75), F(1.25), F(1e-40), F(-3e38)};
  return i % 4 ? numbers[i % 9] : F(int32_t(uint32_t(i) * 2654435761u)) * F(0x1p-30);
}

// The slope's counts of a group are whole bytes; a lane of `size` bits at a time.
template <class As, class Forward, class Backward>
bool stair_agrees(const char *name, Forward forward, Backward backward) {
  using F = typename As::Number;
  using Stored = typename As::Stored;
  bool same = true;
  for (int32_t steps : {1, 2, 5})
    for (int64_t count : {1, 13, 2051, 8195}) {
      const int32_t size = steps == 1 ? 1 : steps == 2 ? 2 : 4;
      const double half_width = 0.5;
      Stair stair = {steps, steps != 5, steps == 5, 0, steps == 5 ? -2.0 : 0.0, {}, {}};
      for (int32_t k = 0; k < steps; ++k) stair.threshold[k] = 0.25 * (k + 1), stair.jump[k] = 0.5;
      const size_t shift = size_t(count & 2) / 2;  // 2051 and 8195 begin at addresses of no vector
      std::unique_ptr<Stored[]> arrays[4];
      for (auto &array : arrays) array.reset(new Stored[size_t(count) + shift]);
      Stored *x = arrays[0].get() + shift, *z = arrays[1].get() + shift;
      Stored *g = arrays[2].get() + shift, *out = arrays[3].get() + shift;
      std::unique_ptr<uint8_t[]> kept(new uint8_t[size_t((count * size + 7) / 8)]);
      for (int64_t i = 0; i < count; ++i)
        x[size_t(i)] = As::store(special<F>(i)), g[size_t(i)] = As::store(special<F>(i + 5));
      const unsigned blocks = unsigned((count + CHUNK - 1) / CHUNK);
      emulation::run(blocks, THREADS, [&] {
        forward(stair, size, count, &half_width, x, z, kept.get());
      });
      emulation::run(blocks, THREADS, [&] {
        backward(stair, size, count, &half_width, g, kept.get(), out);
      });
      for (int64_t i = 0; i < count; ++i) {
        const F value = As::load(x[size_t(i)]), u = fold(stair.folded, value);
        F level = F(stair.lowest), slope = F(0);
        uint32_t open = 0;
        for (int32_t k = 0; k < steps; ++k) {
          const F t = F(stair.threshold[k]);
          level += passes(stair.up, u, t) ? F(stair.jump[k]) : F(0);
          open += within(u, t, F(half_width));
          slope += window(0, u, t, F(half_width), height<F>(stair, k, half_width));
        }
        const uint32_t byte = kept[size_t(i * size / 8)];
        const Stored wanted = As::store(finish(stair.folded, value, level));
        const Stored product = As::store(slope * As::load(g[size_t(i)]));
        same &= !memcmp(&wanted, &z[size_t(i)], sizeof wanted);
        same &= !memcmp(&product, &out[size_t(i)], sizeof product);
        same &= (byte >> i * size % 8 & ((1u << size) - 1)) == open;
      }
      const int64_t last = count * size % 8;
      same &= last == 0 || kept[size_t(count * size / 8)] >> last == 0;
    }
  if (!same) printf("stairs of %s differ\n", name);
  return same;
}

inline bool check_stairs() {
  bool same = true;
#define TRY_STAIR(type, As) same &= stair_agrees<As>(#type, qt_stair_##type, qt_stair_slope_##type);
  QT_STAIR_TYPES(TRY_STAIR)
#undef TRY_STAIR
  return same;
}

}  // namespace plain
