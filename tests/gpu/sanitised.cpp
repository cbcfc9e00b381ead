// The emulated kernels on arrays of exactly their size, for the sanitisers to watch, against a
// plain loop over the per-weight headers. Prints what differs; returns 1 if anything does.
#include <stdio.h>

#include <memory>
#include <vector>

#define QT_INT8_MOMENTS
#if defined(FORGETTING)  // the rule of this name begins first moments of weights that move anew
#include "walker.h"
namespace qt {
struct FORGETTING;
template <>
constexpr bool forgets<FORGETTING> = true;
}  // namespace qt
#endif
#include "gpu/kernels.cu"
#include "plain/batch_norm.h"
#include "plain/squares.h"

namespace plain {

using namespace qt;

// A tensor of a launch.
struct Case {
  int64_t count, offset;
  int shift;           // elements between a 16-byte boundary and the data
  int gradient_shift;  // the same of the gradient
  int64_t row;         // weights of a row with a gain, 0 without gains
};

template <class Number>
constexpr int32_t real_of = sizeof(typename Number::Stored) == 4   ? REAL_FLOAT32
                            : sizeof(typename Number::Stored) == 2 ? REAL_BFLOAT16
                                                                   : REAL_INT8;

size_t size_of(int32_t type) { return type == REAL_FLOAT32 ? 4 : type == REAL_BFLOAT16 ? 2 : 1; }

// An allocation that ends where its data ends.
struct Array {
  std::unique_ptr<uint8_t[]> memory;
  size_t bytes, lead;
  Array(size_t bytes, size_t lead) : memory(new uint8_t[bytes + lead]()), bytes(bytes), lead(lead) {}
  Array(const Array &other) : Array(other.bytes, other.lead) {
    memcpy(memory.get(), other.memory.get(), bytes + lead);
  }
  uint8_t *data() const { return memory.get() + lead; }
  bool operator==(const Array &other) const { return !memcmp(data(), other.data(), bytes); }
};

float load(const Array &array, int32_t type, int64_t i) {
  if (type == REAL_FLOAT32) return ((const float *)array.data())[i];
  if (type == REAL_INT8) return Int8::load(((const int8_t *)array.data())[i]);
  return widen(((const uint16_t *)array.data())[i]);
}

void store(Array &array, int32_t type, int64_t i, float x, uint32_t random) {
  if (type == REAL_FLOAT32)
    ((float *)array.data())[i] = x;
  else if (type == REAL_INT8)
    ((int8_t *)array.data())[i] = Int8::store(x, random);
  else
    ((uint16_t *)array.data())[i] = round_stochastically(x, random);
}

int32_t get(const Array &state, int32_t storage, int64_t i) {
  if (storage == STORAGE_INT8) return int8_t(state.data()[i]);
  return packed_code<2>(state.data()[i / 4], int(i % 4));
}

void set(Array &state, int32_t storage, int64_t i, int32_t code) {
  uint8_t *byte = state.data() + (storage == STORAGE_INT8 ? i : i / 4);
  const int lane = int(i % 4);
  *byte = storage == STORAGE_INT8 ? uint8_t(code)
                                  : uint8_t((*byte & ~(3u << 2 * lane)) | code_bits<2>(code, lane));
}

uint32_t word(const Launch &l, uint32_t iteration, uint32_t tensor, Stream stream, uint64_t element) {
  return words_of_block(l.seed, iteration, tensor, stream, element / 4).lane[element % 4];
}

struct State {
  Array state, gradient, first, second, increment, gain;
  Counters counters{0, 0};
};

template <class Rule, class Optimiser>
void step(const Launch &l, const Case &c, const Scalars &scalars, uint32_t iteration, uint32_t tensor,
          State &s) {
  for (int64_t i = 0; i < c.count; ++i) {
    const uint64_t element = uint64_t(c.offset + i);
    float first = Optimiser::moments > 0 ? load(s.first, l.moment_type, i) : 0.0f;
    float second = Optimiser::moments > 1 ? load(s.second, l.moment_type, i) : 0.0f;
    const float g = load(s.gradient, l.gradient_type, i);
    const float scaled = c.row ? load(s.gain, REAL_FLOAT32, i / c.row) * g : g;
    float x = Optimiser::increment(scalars, scaled, first, second);
    const uint32_t random = word(l, iteration, tensor, STREAM_MOMENT, element);
    if (Optimiser::moments > 0) store(s.first, l.moment_type, i, first, random >> 16);
    if (Optimiser::moments > 1) store(s.second, l.moment_type, i, second, random & 0xffffu);
    const int32_t index = get(s.state, l.storage, i) + centre(l.spec);
    const int32_t next =
        qt::step<Rule>(l.spec, index, x, word(l, iteration, tensor, STREAM_MOVE, element));
    if (forgets<Rule> && Optimiser::moments > 0 && next != index) store(s.first, l.moment_type, i, 0.0f, 0);
    s.counters.moved += next != index;
    s.counters.nan += x != x;
    set(s.state, l.storage, i, next - centre(l.spec));
    if (s.increment.bytes) store(s.increment, REAL_FLOAT32, i, x, 0);
  }
}

using Kernel = void (*)(const Launch, const Tensor *, int32_t, const Scalars *, const int64_t *,
                        Counters *);
using Plain = void (*)(const Launch &, const Case &, const Scalars &, uint32_t, uint32_t, State &);

float noise(int64_t i) {
  const float special[] = {0.0f, -0.5f, 1e-40f, 2.5f, -3e38f, 0.25f, -1.0f};
  uint32_t x = uint32_t(i) * 2654435761u;
  return i % 11 == 3 ? special[x % 7] : float(int32_t(x)) * 0x1p-31f;
}

State make(const Launch &l, const Case &c, bool records) {
  auto reals = [&](int32_t type, int shift) {
    return Array(size_t(c.count) * size_of(type), size_t(shift) * size_of(type));
  };
  const int64_t rows = c.row ? c.count / c.row : 0;
  const size_t bytes = size_t(l.storage == STORAGE_INT8 ? c.count : (c.count + 3) / 4);
  State s{Array(bytes, size_t(c.shift)), reals(l.gradient_type, c.gradient_shift),
          reals(l.moment_type, c.shift), reals(l.moment_type, c.shift),
          Array(records ? size_t(c.count) * 4 : 0, 0), Array(size_t(rows) * 4, 0)};
  for (int64_t r = 0; r < rows; ++r) store(s.gain, REAL_FLOAT32, r, 0.5f + float(r % 7) * 0.375f, 0);
  for (int64_t i = 0; i < c.count; ++i) {
    store(s.gradient, l.gradient_type, i, noise(i), 0);
    store(s.first, l.moment_type, i, noise(i + 99), 0);
    store(s.second, l.moment_type, i, absolute(noise(i + 77)), 0);
    set(s.state, l.storage, i, int32_t(i * 7 % l.spec.size) - centre(l.spec));
  }
  return s;
}

// All cases in one launch, against the plain loop; counted or not, increments recorded or not.
bool agree(const char *name, Kernel kernel, Plain loop, int moments, const Launch &l,
           const std::vector<Case> &cases, bool counts, bool records) {
  // Without epsilon Adam makes 0 / 0 of zeros, padding included.
  const Scalars scalars{0.7f, 0.9f, 0.1f, 0.999f, 0.001f, 0.5f, 0.0f};
  const std::unique_ptr<int64_t> iteration(new int64_t((int64_t{1} << 32) - 1));
  std::vector<State> mine, theirs;
  mine.reserve(cases.size());  // tables keep addresses of what is in it
  // The rows, and for each the number of chunks before it.
  const std::unique_ptr<uint8_t[]> table(new uint8_t[cases.size() * (sizeof(Tensor) + sizeof(uint32_t))]);
  Tensor *const tensors = (Tensor *)table.get();
  uint32_t *const before = (uint32_t *)(tensors + cases.size());
  uint32_t chunks = 0;
  const std::unique_ptr<Counters[]> counters(new Counters[cases.size()]());
  for (uint32_t t = 0; t < cases.size(); ++t) {
    const Case &c = cases[t];
    mine.push_back(make(l, c, records));
    theirs.push_back(mine.back());
    const State &s = mine.back();
    tensors[t] = Tensor{s.state.data(), s.gradient.data(), moments > 0 ? s.first.data() : nullptr,
                        moments > 1 ? s.second.data() : nullptr,
                        records ? (float *)s.increment.data() : nullptr, c.count, c.offset, ~t, 0,
                        c.row ? (const float *)s.gain.data() : nullptr, c.row};
    loop(l, c, scalars, uint32_t(*iteration), ~t, theirs.back());
    before[t] = chunks;
    chunks += uint32_t((c.count + CHUNK - 1) / CHUNK);
  }
  emulation::run(chunks, THREADS, [&] {
    kernel(l, tensors, int32_t(cases.size()), &scalars, iteration.get(), counts ? counters.get() : nullptr);
  });
  bool same = true;
  for (uint32_t t = 0; t < cases.size(); ++t) {
    const Case &c = cases[t];
    const Counters want = counts ? theirs[t].counters : Counters{0, 0};
    const bool right = mine[t].state == theirs[t].state && mine[t].first == theirs[t].first &&
                       mine[t].second == theirs[t].second && mine[t].increment == theirs[t].increment &&
                       counters[t].moved == want.moved && counters[t].nan == want.nan &&
                       theirs[t].counters.moved >= c.count / 9;
    if (!right)
      printf("%s: %lld weights from %lld on differ\n", name, (long long)c.count, (long long)c.offset);
    same &= right;
  }
  return same;
}

bool check_words() {
  bool same = true;
  const std::unique_ptr<int64_t> iteration(new int64_t(8));
  for (int64_t first = 0; first < 9; ++first)
    for (int64_t count : {1, 8, 13, 2051}) {
      std::unique_ptr<uint32_t[]> out(new uint32_t[size_t(count)]);
      emulation::run(unsigned((count + 2047) / 2048), THREADS,
                     [&] { qt_words(7, iteration.get(), 9, 1, first, count, out.get()); });
      for (int64_t i = 0; i < count; ++i)
        same &= out[size_t(i)] ==
                words_of_block(7, 8, 9, Stream(1), uint64_t(first + i) / 4).lane[(first + i) % 4];
    }
  if (!same) printf("words differ\n");
  return same;
}

// Visible weights read a table of exactly `size` levels, whatever bytes the state holds.
bool check_decode() {
  bool same = true;
  for (int32_t storage : {STORAGE_INT8, STORAGE_TRITS})
    for (int32_t size : {2, 3, 256})
      for (int32_t type : {REAL_FLOAT32, REAL_BFLOAT16, REAL_FLOAT16})
        for (int64_t count : {1, 8, 19, 4101}) {
          if (storage == STORAGE_TRITS && size > 3) continue;
          const float scale = 0.75f;
          std::unique_ptr<float[]> levels(new float[size_t(size)]);
          for (int32_t k = 0; k < size; ++k) levels[size_t(k)] = 0.5f * float(k - 128);
          Array state(size_t(storage == STORAGE_INT8 ? count : (count + 3) / 4), size_t(type));
          Array out(size_t(count) * (type == REAL_FLOAT32 ? 4 : 2), 0);
          for (size_t i = 0; i < state.bytes; ++i) state.data()[i] = uint8_t(i * 37);
          emulation::run(unsigned((count + 2047) / 2048), THREADS, [&] {
            qt_decode(storage, levels.get(), &scale, size, state.data(), count, out.data(), type);
          });
          for (int64_t i = 0; i < count; ++i) {
            const int32_t index = get(state, storage, i) + size / 2;
            const bool legal = index >= 0 && index < size;
            const uint32_t want = nearest(legal ? bits(levels[size_t(index)] * scale) : NAN_BITS, type);
            same &= want == (type == REAL_FLOAT32 ? ((const uint32_t *)out.data())[i]
                                                  : ((const uint16_t *)out.data())[i]);
          }
        }
  if (!same) printf("decoding differs\n");
  return same;
}

// Thresholds and destinations of every rule, in arrays of exactly their size.
template <class Rule>
bool check_outcomes(int32_t rule) {
  bool same = true;
  for (int32_t size : {2, 3, 256})
    for (int64_t count : {1, 255, 256, 1000}) {
      const Launch l{1, rule, 0, 0, 0, 0, {0.3f, 1.0f, size, {3.0f, 0.5f, 1.0f, 0.0f}}};
      const float nan = __builtin_nanf(""), infinite = __builtin_inff();
      const float special[] = {0.0f, -0.0f, 0.15f, -0.15f, 1e-45f, 3e38f, -3e38f, infinite, -infinite, nan};
      const size_t n = size_t(count), places = size_t(Rule::destinations(l.spec));
      std::unique_ptr<int8_t[]> codes(new int8_t[n]);
      std::unique_ptr<float[]> increments(new float[n]);
      std::unique_ptr<uint64_t[]> thresholds(new uint64_t[n * (places - 1)]);
      std::unique_ptr<int32_t[]> destinations(new int32_t[n * places]);
      for (size_t i = 0; i < n; ++i) {
        codes[i] = int8_t(int32_t(i) % size - size / 2);
        increments[i] = special[i % 10];
      }
      emulation::run(unsigned((count + 255) / 256), THREADS, [&] {
        qt_outcomes(l, codes.get(), increments.get(), count, thresholds.get(), destinations.get());
      });
      for (size_t i = 0; i < n; ++i) {
        uint64_t t[255];
        int32_t d[256];
        tell_outcomes<Rule>(l.spec, codes[i] + size / 2, increments[i], t, d);
        same &= !memcmp(t, thresholds.get() + i * (places - 1), (places - 1) * sizeof *t);
        same &= !memcmp(d, destinations.get() + i * places, places * sizeof *d);
      }
    }
  if (!same) printf("outcomes differ\n");
  return same;
}

// A table that travels with a launch.
bool check_put() {
  bool same = true;
  Payload payload;
  for (uint64_t i = 0; i < 448; ++i) payload.part[i] = i * 0x9e3779b97f4a7c15u;
  for (int32_t count : {1, 7, 255, 256, 257, 448}) {
    std::unique_ptr<uint64_t[]> out(new uint64_t[size_t(count)]);
    emulation::run(1, THREADS, [&] { qt_put(payload, count, out.get()); });
    same &= !memcmp(out.get(), payload.part, size_t(count) * sizeof *payload.part);
  }
  if (!same) printf("tables differ\n");
  return same;
}

}  // namespace plain

int main() {
  using namespace plain;
  const int64_t far = (int64_t{1} << 58) - CHUNK;  // the last elements that have a word
  // Odd addresses, offsets and ends; then those that go wide, with the gradient at any address; and
  // a chunk in which the high half of the number of a block of words changes. Rows: one, of odd
  // length, of quads, of one weight, longer than a chunk, and a chunk or a weight more.
  const std::vector<Case> cases = {{1, 0, 0, 0, 1},       {21, 3, 1, 0, 7},      {0, 8, 0, 0, 1},
                                   {2051, 6, 0, 0, 2051}, {CHUNK + 4, 1, 3, 1, 683}, {256, 4, 0, 0, 256},
                                   {4099, 0, 0, 1, 0},    {CHUNK + 300, 8, 0, 0, 44}, {CHUNK, far, 0, 0, CHUNK},
                                   {512, 0, 3, 0, 8},     {516, 4, 2, 0, 12},     {2 * (CHUNK + 1), 4, 0, 0, CHUNK + 1},
                                   {770, 8, 0, 0, 1}, {1540, 8, 0, 0, 5},
                                   {2048, (int64_t{1} << 34) - 1024, 0, 0, 0}};
  int32_t rule = -1, kernels = 0, wrong = 0;
#define QT_STEP(name, rule_name, optimiser, storage_name, gradient, moment)                          \
  {                                                                                                 \
    const Launch l{99, rule, 0, storage_name::each == QUAD, real_of<gradient>, real_of<moment>,      \
                   {0.25f, 1.0f, 3, {0.5f, 1.0f, 0.0f, 0.0f}}};                                     \
    wrong += !agree("qt_step_" #name, qt_step_##name, step<rule_name, optimiser>, optimiser::moments, \
                    l, cases, kernels % 5 != 0, kernels % 7 == 0);                                  \
    ++kernels;                                                                                      \
  }
#define TRY_RULE(name)                   \
  ++rule;                                \
  wrong += !check_outcomes<name>(rule);  \
  QT_STEPS(name) QT_INT8_STEPS(name)
  QT_ALGORITHMS(TRY_RULE)
  wrong += !check_words() + !check_decode() + !check_put() + !check_stairs() + !check_batch_norm();
  wrong += !check_squares<float>(REAL_FLOAT32) + !check_squares<uint16_t>(REAL_BFLOAT16);
  printf("%d kernels, %d differ\n", kernels, wrong);
  return wrong != 0;
}
