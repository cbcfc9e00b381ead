// The emulated kernels on arrays of exactly their size, for the sanitisers to watch, against a
// plain loop over the per-weight headers. Prints what differs; returns 1 if anything does.
#include <stdio.h>

#include <memory>

#include "gpu/kernels.cu"
#include "plain_stairs.h"

namespace plain {

using namespace qt;

struct Case {
  int32_t gradient_type, moment_type;
  int64_t count, offset;
  int shift;  // elements between a 16-byte boundary and the data
};

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
  return widen(((const uint16_t *)array.data())[i]);
}

void store(Array &array, int32_t type, int64_t i, float x, uint32_t random) {
  if (type == REAL_FLOAT32)
    ((float *)array.data())[i] = x;
  else
    ((uint16_t *)array.data())[i] = round_stochastically(x, random);
}

int32_t get(const Array &state, int32_t storage, int64_t i) {
  if (storage == STORAGE_INT8) return int8_t(state.data()[i]);
  return trit(state.data()[i / 4], int(i % 4));
}

void set(Array &state, int32_t storage, int64_t i, int32_t code) {
  uint8_t *byte = state.data() + (storage == STORAGE_INT8 ? i : i / 4);
  const int lane = int(i % 4);
  *byte = storage == STORAGE_INT8 ? uint8_t(code)
                                  : uint8_t((*byte & ~(3u << 2 * lane)) | trit_bits(code, lane));
}

uint32_t word(const Launch &l, uint32_t iteration, uint32_t tensor, Stream stream, uint64_t element) {
  return words_of_block(l.seed, iteration, tensor, stream, element / 4).lane[element % 4];
}

struct State {
  Array state, gradient, first, second;
  Counters counters{0, 0};
};

template <class Rule, class Optimiser>
void step(const Launch &l, const Case &c, const Scalars &scalars, uint32_t iteration, State &s) {
  for (int64_t i = 0; i < c.count; ++i) {
    const uint64_t element = uint64_t(c.offset + i);
    float first = Optimiser::moments > 0 ? load(s.first, c.moment_type, i) : 0.0f;
    float second = Optimiser::moments > 1 ? load(s.second, c.moment_type, i) : 0.0f;
    float x = Optimiser::increment(scalars, load(s.gradient, c.gradient_type, i), first, second);
    const uint32_t random = word(l, iteration, 5, STREAM_MOMENT, element);
    if (Optimiser::moments > 0) store(s.first, c.moment_type, i, first, random >> 16);
    if (Optimiser::moments > 1) store(s.second, c.moment_type, i, second, random & 0xffffu);
    const int32_t index = get(s.state, l.storage, i) + centre(l.spec);
    const int32_t next = qt::step<Rule>(l.spec, index, x, word(l, iteration, 5, STREAM_MOVE, element));
    s.counters.moved += next != index;
    s.counters.nan += x != x;
    set(s.state, l.storage, i, next - centre(l.spec));
  }
}

using Kernel = void (*)(const Launch, const Tensor *, int32_t, const Scalars *, const int64_t *,
                        Counters *);
using Plain = void (*)(const Launch &, const Case &, const Scalars &, uint32_t, State &);

float noise(int64_t i) {
  const float special[] = {0.0f, -0.5f, 1e-40f, 2.5f, -3e38f, 0.25f, -1.0f};
  uint32_t x = uint32_t(i) * 2654435761u;
  return i % 5 == 3 ? special[x % 7] : float(int32_t(x)) * 0x1p-31f;
}

State make(const Launch &l, const Case &c) {
  auto reals = [&](int32_t type) {
    const size_t size = type == REAL_FLOAT32 ? 4 : 2;
    return Array(size_t(c.count) * size, size_t(c.shift) * size);
  };
  const size_t bytes = size_t(l.storage == STORAGE_INT8 ? c.count : (c.count + 3) / 4);
  State s{Array(bytes, size_t(c.shift)), reals(c.gradient_type), reals(c.moment_type), reals(c.moment_type)};
  for (int64_t i = 0; i < c.count; ++i) {
    store(s.gradient, c.gradient_type, i, noise(i), 0);
    store(s.first, c.moment_type, i, noise(i + 99), 0);
    store(s.second, c.moment_type, i, absolute(noise(i + 77)), 0);
    set(s.state, l.storage, i, int32_t(i * 7 % l.spec.size) - centre(l.spec));
  }
  return s;
}

bool agree(const char *name, Kernel kernel, Plain loop, int moments, const Launch &l, const Case &c) {
  State mine = make(l, c), theirs = mine;
  // Without epsilon Adam makes 0 / 0 of zeros, padding included.
  const Scalars scalars{0.7f, 0.9f, 0.1f, 0.999f, 0.001f, 0.5f, 0.0f};
  const int64_t iteration = 3;
  loop(l, c, scalars, uint32_t(iteration), theirs);
  Tensor tensor{mine.state.data(), mine.gradient.data(), moments > 0 ? mine.first.data() : nullptr,
                moments > 1 ? mine.second.data() : nullptr, nullptr, c.count, c.offset, 5, 0};
  struct {
    Tensor row;
    uint32_t before;
  } table{tensor, 0};
  emulation::run(unsigned((c.count + CHUNK - 1) / CHUNK), THREADS,
                 [&] { kernel(l, &table.row, 1, &scalars, &iteration, &mine.counters); });
  const bool same = mine.state == theirs.state && mine.first == theirs.first &&
                    mine.second == theirs.second && mine.counters.moved == theirs.counters.moved &&
                    mine.counters.nan == theirs.counters.nan && theirs.counters.moved >= c.count / 9;
  if (!same)
    printf("%s: types %d %d, %lld weights from %lld on differ\n", name, c.gradient_type, c.moment_type,
           (long long)c.count, (long long)c.offset);
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
    for (int64_t count : {1, 8, 19, 4101}) {
      const int32_t size = 3;
      std::unique_ptr<float[]> levels(new float[3]{-1.5f, 0.0f, 2.5f});
      Array state(size_t(storage == STORAGE_INT8 ? count : (count + 3) / 4), 0);
      Array out(size_t(count) * 4, 0);
      for (size_t i = 0; i < state.bytes; ++i) state.data()[i] = uint8_t(i * 37);
      emulation::run(unsigned((count + 2047) / 2048), THREADS, [&] {
        qt_decode(storage, levels.get(), size, state.data(), count, out.data(), REAL_FLOAT32);
      });
      for (int64_t i = 0; i < count; ++i) {
        const int32_t index = get(state, storage, i) + 1;
        const float level = index >= 0 && index < size ? levels[size_t(index)] : 0.0f;
        same &= ((const float *)out.data())[i] == level;
      }
    }
  if (!same) printf("decoding differs\n");
  return same;
}

}  // namespace plain

int main() {
  using namespace plain;
  int32_t rule = -1, cases = 0, wrong = 0;
#define TRY(name, optimiser_name, storage_name, storage_number)                                       \
  for (const Case &c : {Case{0, 0, 1, 0, 0}, Case{0, 1, 21, 3, 1}, Case{1, 0, 2051, 6, 0},            \
                        Case{1, 1, CHUNK + 4, 1, 3}, Case{1, 1, 256, 4, 0}, Case{0, 0, 4099, 0, 0}}) { \
    Launch l{99, rule, 0, storage_number, c.gradient_type, c.moment_type,                             \
             {0.25f, 1.0f, 3, {2.0f, 1.0f, 0.0f, 0.0f}}};                                             \
    wrong += !agree("qt_step_" #name "_" #optimiser_name "_" #storage_name,                           \
                    qt_step_##name##_##optimiser_name##_##storage_name, step<name, optimiser_name>,   \
                    optimiser_name::moments, l, c);                                                   \
    ++cases;                                                                                          \
  }
#define TRY_BOTH(name, optimiser_name) \
  TRY(name, optimiser_name, int8, STORAGE_INT8) TRY(name, optimiser_name, trits, STORAGE_TRITS)
#define TRY_RULE(name) \
  ++rule;              \
  QT_OPTIMISERS_OF(TRY_BOTH, name)
  QT_ALGORITHMS(TRY_RULE)
  wrong += !check_words() + !check_decode() + !check_stairs();
  printf("%d cases, %d differ\n", cases, wrong);
  return wrong != 0;
}
