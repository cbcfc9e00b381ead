// The CPU library: a plain C ABI, one build for each level of the instruction set. Every number
// comes from the headers one folder up; here are only loops, threads and dispatch.
#include "../abi.h"
#include "../scalars.h"
#include "batch_norm.h"
#include "launch.h"
#include "layout.h"
#include "pool.h"
#include "readings.h"
#include "squares.h"
#include "trits.h"

#define QT_EXPORT extern "C" __attribute__((visibility("default")))

namespace qt {
namespace {

constexpr int64_t TASK = 64 * RUN;  // weights a thread takes at a time, at least

enum Error : int {
  OK = 0, BAD_RULE = 1, BAD_OPTIMISER = 2, BAD_STORAGE = 3, BAD_REAL = 4, BAD_SIZE = 5,
  BAD_CODE = 6, BAD_LEVEL = 7
};

int check(const Launch &launch) {
  if (!bits_of(launch.storage)) return BAD_STORAGE;
  const int32_t gradient = launch.gradient_type, moment = launch.moment_type;
  if (gradient != REAL_FLOAT32 && gradient != REAL_BFLOAT16) return BAD_REAL;
  if (moment != REAL_FLOAT32 && moment != REAL_BFLOAT16 && moment != REAL_INT8) return BAD_REAL;
  if (launch.spec.size < 2 || launch.spec.size > most_levels(launch.storage))
    return BAD_SIZE;
  return OK;
}

int find(const Launch &launch, Functions &functions) {
#define QT_MOVE(rule) {move<rule>, forgets<rule>, !certain<rule>},
  const struct {
    Move move;
    bool forgets, draws;
  } rules[] = {QT_ALGORITHMS(QT_MOVE)};
#undef QT_MOVE
#define QT_CHOOSE(rule, name) {choose_increments<name>(launch.gradient_type, launch.moment_type), choose_increments<name>(REAL_FLOAT32, launch.moment_type), name::moments},
  const struct {
    MakeIncrements make, of_scaled;
    int moments;
  } optimisers[] = {QT_OPTIMISERS_OF(QT_CHOOSE, any)};
#undef QT_CHOOSE
  if (uint32_t(launch.rule) >= sizeof rules / sizeof *rules) return BAD_RULE;
  if (uint32_t(launch.optimiser) >= sizeof optimisers / sizeof *optimisers) return BAD_OPTIMISER;
  const auto &chosen = optimisers[launch.optimiser];
  const auto &rule = rules[launch.rule];
  const Forget forget = rule.forgets && chosen.moments ? choose_forget(launch.moment_type) : nullptr;
  const MoveAtOnce at_once = find_at_once(launch.rule, launch.optimiser, launch.gradient_type);
  const MoveAtOnce scaled = find_at_once(launch.rule, launch.optimiser, REAL_FLOAT32);
  functions = {chosen.make, chosen.of_scaled, at_once, scaled, rule.move, forget, chosen.moments, rule.draws};
  return chosen.make ? check(launch) : BAD_REAL;
}

// Weights that a thread takes at a time in a step: long runs through memory where there is much to
// do, but several turns for each thread. Which thread takes what changes no bit.
int64_t task_length(const Tensor *tensors, int64_t n, int32_t threads) {
  int64_t weights = 0;
  for (int64_t t = 0; t < n; ++t) weights += tensors[t].count;
  const int64_t turn = weights / (8 * int64_t(threads > 0 ? threads : 1)) / RUN * RUN;
  return turn < TASK ? TASK : minimum64(turn, 8 * TASK);
}

}  // namespace

// Work on OpenMP's threads from now on: `parallel` is the address of GOMP_parallel, or null.
QT_EXPORT void qt_share_threads(void *parallel) {
  Pool::instance().share(reinterpret_cast<OpenMP>(parallel));
}

// The scalars of the iteration that begins now, which is counted; found_inf may be null.
QT_EXPORT int qt_scalars(int32_t optimiser, const Numbers *numbers, int64_t *iteration,
                         const float *found_inf, Scalars *scalars) {
  FloatEnvironment environment;
  return next_scalars(optimiser, *numbers, *iteration, found_inf, *scalars) ? OK : BAD_OPTIMISER;
}

// Optimiser and move for every weight of every tensor, in place; counters are added to.
// Returns 0, or the number of the rule that the launch breaks.
QT_EXPORT int qt_step_all(const Launch *launch, const Tensor *tensors, int64_t n, const float *scalars,
                          const int64_t *iteration, Counters *counters, int32_t threads) {
  Functions functions;
  if (int error = find(*launch, functions)) return error;
  struct Task {
    int64_t tensor, start;
  };
  std::vector<Task> tasks;
  const int64_t length = task_length(tensors, n, threads);
  for (int64_t t = 0; t < n; ++t)
    for (int64_t start = 0; start < tensors[t].count; start += length) tasks.push_back({t, start});
  Scalars numbers;
  memcpy(&numbers, scalars, sizeof numbers);
  const uint32_t now = uint32_t(*iteration);
  parallel(int64_t(tasks.size()), threads, [&](int64_t number) {
    const Task task = tasks[size_t(number)];
    const Tensor &tensor = tensors[task.tensor];
    const int64_t end = minimum64(task.start + length, tensor.count);
    Counters sum{0, 0};
    for (int64_t start = task.start; start < end; start += RUN)
      step_run(*launch, functions, tensor, numbers, now, start, minimum64(RUN, end - start), sum);
    __atomic_fetch_add(&counters[task.tensor].moved, sum.moved, __ATOMIC_RELAXED);
    __atomic_fetch_add(&counters[task.tensor].nan, sum.nan, __ATOMIC_RELAXED);
  });
  return OK;
}

// Running mean squares and gains of the rows of every tensor; the scalars are those of `normalized`.
QT_EXPORT int qt_squares(const Rows *tensors, int64_t n, int32_t gradient_type, const float *scalars,
                         int32_t threads) {
  if (gradient_type != REAL_FLOAT32 && gradient_type != REAL_BFLOAT16) return BAD_REAL;
  constexpr int64_t turn = 16;  // parts of a task
  struct Task {
    int64_t tensor, part, out;
  };
  std::vector<Task> tasks;
  int64_t all = 0;
  for (int64_t t = 0; t < n; ++t) {
    const int64_t parts = Parts(tensors[t]).all;
    for (int64_t part = 0; part < parts; part += turn) tasks.push_back({t, part, all + part});
    all += parts;
  }
  std::vector<double> sums(static_cast<size_t>(all));
  parallel(int64_t(tasks.size()), threads, [&](int64_t number) {
    const Task task = tasks[size_t(number)];
    const Rows &rows = tensors[task.tensor];
    const Parts parts(rows);
    for (int64_t k = 0; k < turn && task.part + k < parts.all; ++k)
      sums[size_t(task.out + k)] = sum_of_squares(rows.gradient, gradient_type, parts.start(task.part + k),
                                                  parts.count(task.part + k));
  });
  FloatEnvironment environment;
  Scalars numbers;
  memcpy(&numbers, scalars, sizeof numbers);
  const double *next = sums.data();
  for (int64_t t = 0; t < n; ++t) {
    const Parts parts(tensors[t]);
    for (int64_t row = 0; row * parts.of_row < parts.all; ++row) {
      double sum = 0.0;
      for (int64_t part = 0; part < parts.of_row; ++part) sum += *next++;
      tensors[t].gain[row] = next_gain(numbers, sum, parts.row, tensors[t].square[row]);
    }
  }
  return OK;
}

// The words of elements first .. first + count - 1, at the iteration that is in memory now.
QT_EXPORT void qt_words(uint64_t seed, const int64_t *iteration, uint32_t tensor, uint32_t stream,
                        int64_t first, int64_t count, uint32_t *out, int32_t threads) {
  const uint32_t now = uint32_t(*iteration);
  parallel((count + TASK - 1) / TASK, threads, [&](int64_t number) {
    WordBuffer<RUN> buffer;
    const int64_t end = minimum64((number + 1) * TASK, count);
    for (int64_t start = number * TASK; start < end; start += RUN) {
      const int64_t length = minimum64(RUN, end - start);
      const uint32_t *words =
          buffer.fill(seed, now, tensor, stream, uint64_t(first + start), length);
      memcpy(out + start, words, size_t(length) * sizeof *out);
    }
  });
}

// How many destinations a weight has, 0 for an unknown rule.
QT_EXPORT int qt_destinations(const Launch *launch) {
  int32_t rule = 0;
#define QT_DESTINATIONS(name) \
  if (launch->rule == rule++) return name::destinations(launch->spec);
  QT_ALGORITHMS(QT_DESTINATIONS)
#undef QT_DESTINATIONS
  return 0;
}

// For each weight its destinations, and the thresholds between them, one less.
QT_EXPORT int qt_outcomes(const Launch *launch, const int8_t *codes, const float *increments,
                          int64_t count, uint64_t *thresholds, int32_t *destinations) {
  if (int error = check(*launch)) return error;
  FloatEnvironment environment;
  const Spec &spec = launch->spec;
  const int64_t places = qt_destinations(launch);
  int32_t rule = 0;
#define QT_OUTCOMES(name)                                                               \
  if (launch->rule == rule++) {                                                         \
    for (int64_t i = 0; i < count; ++i)                                                 \
      tell_outcomes<name>(spec, codes[i] + centre(spec), increments[i],                 \
                          thresholds + i * (places - 1), destinations + i * places);    \
    return OK;                                                                          \
  }
  QT_ALGORITHMS(QT_OUTCOMES)
#undef QT_OUTCOMES
  return BAD_RULE;
}

// Visible weights: scale * levels[index], rounded to float32 and then to the type, ties to even.
// No scale is a scale of 1. A code off the lattice reads as NaN and is told: all is written, and
// BAD_CODE is returned.
//
// places, channels: an element's number is (o * places + p) * channels + c, where it lies in the
// state, and (o * channels + c) * places + p in `out`. With one place or one channel they agree.
QT_EXPORT int qt_decode(int32_t storage, const float *levels, const float *scale, int32_t size,
                        const void *state, int64_t count, void *out, int32_t real, int64_t places,
                        int64_t channels, int32_t threads) {
  if (!bits_of(storage)) return BAD_STORAGE;
  if (real != REAL_FLOAT32 && real != REAL_BFLOAT16 && real != REAL_FLOAT16) return BAD_REAL;
  if (size < 2 || size > most_levels(storage)) return BAD_SIZE;
  alignas(64) uint32_t table[256];  // indexed by the code's low eight bits
  for (uint32_t &shown : table) shown = nearest(NAN_BITS, real);
  for (int32_t i = 0; i < size; ++i) {
    const float level = scale ? levels[i] * *scale : levels[i];
    if (!(level == level)) return BAD_LEVEL;
    table[uint8_t(i - size / 2)] = nearest(bits(level), real);
  }
  const bool trits = storage == STORAGE_TRITS, turned = places > 1 && channels > 1;
  const int8_t low = int8_t(-(size / 2)), high = int8_t(size - 1 - size / 2);
  const int64_t unit = turned ? places * channels : RUN;
  const int64_t task = (TASK + unit - 1) / unit * unit;
  std::atomic<int> bad{0};
  parallel((count + task - 1) / task, threads, [&](int64_t number) {
    int8_t run[RUN + 3];
    std::vector<int8_t> filter(turned ? 2 * size_t(unit) + 3 : 0);
    int8_t *const room = turned ? filter.data() : run;
    int8_t illegal = 0;
    const int64_t end = minimum64((number + 1) * task, count);
    for (int64_t start = number * task; start < end; start += unit) {
      const int64_t length = minimum64(unit, end - start);
      const int8_t *codes = codes_of(bits_of(storage), state, start, length, room);
      for (int64_t i = 0; i < length; ++i) illegal |= int8_t(codes[i] < low) | int8_t(codes[i] > high);
      const auto write = [&](auto *to) {
        if (turned)
          show_turned(table, trits, codes, places, channels, room + unit + 3, to);
        else
          show(table, trits, codes, length, to);
      };
      if (real == REAL_FLOAT32)
        write((uint32_t *)out + start);
      else
        write((uint16_t *)out + start);
    }
    if (illegal) bad = 1;
  });
  return bad ? BAD_CODE : OK;
}

// A weight's gradient in the order of its state: element (o * channels + c) * places + p of `in` is
// (o * places + p) * channels + c of `out`. bytes: of an element, 2, 4 or 8.
QT_EXPORT int qt_stored(const void *in, int64_t count, int32_t bytes, int64_t places, int64_t channels,
                        void *out, int32_t threads) {
  if (bytes != 2 && bytes != 4 && bytes != 8) return BAD_REAL;
  const int64_t unit = places * channels, task = (TASK + unit - 1) / unit * unit;
  parallel((count + task - 1) / task, threads, [&](int64_t number) {
    const int64_t end = minimum64((number + 1) * task, count);
    for (int64_t start = number * task; start < end; start += unit) {
      if (bytes == 2) turn((const uint16_t *)in + start, channels, places, (uint16_t *)out + start);
      if (bytes == 4) turn((const uint32_t *)in + start, channels, places, (uint32_t *)out + start);
      if (bytes == 8) turn((const uint64_t *)in + start, channels, places, (uint64_t *)out + start);
    }
  });
  return OK;
}

// Number of illegal trits among the first `count`.
QT_EXPORT int64_t qt_illegal(const uint8_t *trits, int64_t count) {
  int64_t illegal = 0;
  for (int64_t b = 0; b < count / 4; ++b) illegal += illegal_trits(trits[b]);
  if (count & 3) illegal += illegal_trits(uint8_t(trits[count / 4] & ((1 << 2 * (count & 3)) - 1)));
  return illegal;
}

// Codes into a storage that packs, and back. Returns 0, or the number of the rule that is broken.
QT_EXPORT int qt_pack(int32_t storage, const int8_t *codes, int64_t count, uint8_t *bytes) {
  if (storage == STORAGE_INT8 || !bits_of(storage)) return BAD_STORAGE;
  pack(bits_of(storage), codes, count, bytes);
  return OK;
}

QT_EXPORT int qt_unpack(int32_t storage, const uint8_t *bytes, int64_t count, int8_t *codes) {
  if (storage == STORAGE_INT8 || !bits_of(storage)) return BAD_STORAGE;
  unpack(bits_of(storage), bytes, count, codes);
  return OK;
}

// The name of a rule or of an optimiser, null past the last: how Python learns their numbers.
QT_EXPORT const char *qt_rule(int32_t number) {
#define QT_NAME(name) #name,
  static const char *const names[] = {QT_ALGORITHMS(QT_NAME)};
#undef QT_NAME
  return uint32_t(number) < sizeof names / sizeof *names ? names[number] : nullptr;
}

QT_EXPORT const char *qt_optimiser(int32_t number) {
#define QT_SECOND_NAME(rule, name) #name,
  static const char *const names[] = {QT_OPTIMISERS_OF(QT_SECOND_NAME, any)};
#undef QT_SECOND_NAME
  return uint32_t(number) < sizeof names / sizeof *names ? names[number] : nullptr;
}

// The highest level of the x86-64 instruction set that this processor runs: 1, 3 or 4; 0 elsewhere.
QT_EXPORT int qt_processor_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return 4;
  return __builtin_cpu_supports("x86-64-v3") ? 3 : 1;
#else
  return 0;
#endif
}

}  // namespace qt
