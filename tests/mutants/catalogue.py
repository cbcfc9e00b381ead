"""Mistakes that a kernel author could make, as data: what to replace in which header.

Every one must be caught, except those that are EQUIVALENT: other words for the same function,
which must pass. `level` is the build that compiles the line. Mistakes that the author of the
Python around the kernels could make are in packages.py.
"""

from __future__ import annotations

from typing import NamedTuple

from samples import sample


class Mutant(NamedTuple):
    name: str
    file: str  # inside cuda/csrc; "" changes flags only
    text: str
    replacement: str
    count: int = 1  # how often the text occurs
    level: str = "v3"
    flags: tuple[str, ...] = ()


def few(mutants: list[Mutant]) -> list[Mutant]:
    """What a quick run tries: one of each of twelve files."""
    return sample(mutants, lambda mutant: [mutant.file])[:12]


CORE, PHILOX, FILL = "core.h", "philox.h", "cpu/philox_fill.h"
WALKER, STORAGE, OPTIMISERS, TAME = "walker.h", "storage.h", "optimisers.h", "tame.h"
SCALARS, SQUARES, SUM_OF_SQUARES = "scalars.h", "squares.h", "cpu/squares.h"
DST, ROUNDING = "algorithms/dst.h", "algorithms/deterministic_rounding.h"
METROPOLIS, EXPONENTIAL = "algorithms/metropolis.h", "exponential.h"
BOP, TERNARY_BOP = "algorithms/bop.h", "algorithms/ternary_bop.h"
STEP, LIBRARY, POOL = "cpu/step.h", "cpu/library.cpp", "cpu/pool.h"
STAIR, STAIRS, HALF = "stair.h", "cpu/stairs.h", "half.h"
HALVES = "cpu/folded_halves.h"
NORM, NORMS, SUMS = "batch_norm.h", "cpu/batch_norm.h", "cpu/sums.h"

MUTANTS = [
    # Decisions
    Mutant("<= for <", WALKER, "(word < t.part)", "(word <= t.part)"),
    Mutant("24-bit words", WALKER, "(word < t.part)", "((word >> 8) < (t.part >> 8))"),
    Mutant("certainty forgotten", WALKER, "t.certain | (word", "(word"),
    Mutant("signed comparison", WALKER, "(word < t.part)", "(int32_t(word) < int32_t(t.part))"),
    Mutant("p and 1 - p swapped", WALKER, "Coin{threshold(probability)",
           "Coin{threshold(1.0f - probability)"),
    Mutant("16-bit words", WALKER, "(word < t.part)", "((word >> 16) < (t.part >> 16))"),
    Mutant("uniforms in (0, 1]", WALKER, "(word < t.part)", "(word + 1u < t.part)"),
    Mutant("probability in bfloat16", WALKER, "Coin{threshold(probability)",
           "Coin{threshold(real(bits(probability) & 0xffff0000u))"),
    # Moves
    Mutant("negative increments go up", WALKER, "near + (s.sign | 1)", "near + 1"),
    Mutant("complement for minus", WALKER, "(n ^ sign) - sign", "n ^ sign"),
    Mutant("all increments go up", TAME, "increment / spec.spacing",
           "absolute(increment / spec.spacing)"),
    Mutant("whole spacings forgotten", WALKER, "signed_as(s.sign, s.whole)", "0"),
    Mutant("no lower end", WALKER, "place > 0 ? place : 0", "place"),
    Mutant("no upper end", WALKER, "place < last ? place : last", "place"),
    Mutant("upper end off by one", WALKER, "last = spec.size - 1", "last = spec.size - 2"),
    Mutant("NaN moves", WALKER, "next = is_number(spec, increment) ? next : index;", ""),
    Mutant("spacing ignored", TAME, "increment / spec.spacing", "increment"),
    Mutant("reciprocal of the spacing", TAME, "increment / spec.spacing",
           "increment * (1.0f / spec.spacing)"),
    Mutant("remainder of a negative increment", WALKER, "whole, distance - float(whole)};",
           "whole, int32_t(bits(x)) < 0 && distance > float(whole)"
           " ? float(whole) + 1.0f - distance : distance - float(whole)};"),
    Mutant("far and near swapped", WALKER, "k == 0 ? far : near", "k == 0 ? near : far"),
    Mutant("upper end wraps round", WALKER, "place < last ? place : last",
           "place <= last ? place : place % spec.size"),
    # Rules
    Mutant("tanh off by 1e-3", DST, "tanh_rational(spec, m * s.fraction)",
           "tanh_rational(spec, 1.001f * m * s.fraction)"),
    Mutant("tanh off by 1e-5", DST, "0.13374463061541894f", "0.1337546f"),
    Mutant("approximate tanh, 2**-11", DST, "over(spec, x * p, q)",
           "over(spec, 1.00048828125f * x * p, q)"),
    Mutant("nonlinearity ignored", DST, "tanh_rational(spec, m * s.fraction)",
           "tanh_rational(spec, s.fraction + 0.0f * m)"),
    Mutant("tie at the value 0", ROUNDING, "half_way >= spec.zero", "half_way > spec.zero"),
    Mutant("ties always move", ROUNDING, "(s.fraction == 0.5f) & outward", "s.fraction == 0.5f"),
    Mutant("ties inward", ROUNDING, "== (s.sign == 0)", "!= (s.sign == 0)"),
    Mutant("up and down swapped", METROPOLIS, "x > 0.0f ? unlikely : likely",
           "x < 0.0f ? unlikely : likely"),
    Mutant("heat bath forgotten", METROPOLIS, "spec.parameter[2] != 0.0f", "false"),
    Mutant("proposals at half the rate", METROPOLIS, "0.5f * proposal", "0.25f * proposal"),
    Mutant("temperature ignored", METROPOLIS, "absolute(x) / temperature",
           "absolute(x) + 0.0f * temperature"),
    Mutant("exponential off by 1e-5", EXPONENTIAL, "r * 0.5f * p", "r * 0.50005f * p"),
    Mutant("lower part of ln 2 dropped", EXPONENTIAL, " - float(n) * 1.428606765330187e-06f", ""),
    Mutant("one word more goes up", WALKER, "Threshold{0u - part, part == 0}",
           "Threshold{~part, false}"),
    Mutant("one level: a tie moves down", WALKER, "x < -threshold}", "x <= -threshold}"),
    Mutant("one level: a tie moves up", WALKER, "x <= threshold}", "x < threshold}"),
    Mutant("one level: up and down swapped", WALKER,
           "Threshold{0, x < -threshold}, Threshold{0, x <= threshold}",
           "Threshold{0, x > threshold}, Threshold{0, x >= -threshold}"),
    Mutant("Bop takes a tenth of its threshold", BOP, "spec.parameter[0]",
           "0.1f * spec.parameter[0]"),
    Mutant("hysteresis of the outer levels", TERNARY_BOP,
           "in_the_middle ? outer * hysteresis : outer",
           "in_the_middle ? outer : outer * hysteresis"),
    Mutant("momentum of weights that moved is kept", TERNARY_BOP, "forgets<ternary_bop> = true",
           "forgets<ternary_bop> = false"),
    Mutant("momentum of weights that stayed is lost", STEP, "after[i] == before[i] ? m[i]",
           "after[i] != before[i] ? m[i]"),
    Mutant("momentum of other weights is lost", LIBRARY, "count, tensor.first, start);",
           "count, tensor.first, 0);"),
    # Random words
    Mutant("counter without tensor", FILL, "uint64_t(iteration) | uint64_t(tensor) << 32",
           "uint64_t(iteration)"),
    Mutant("counter without iteration", FILL, "uint64_t(iteration) | uint64_t(tensor) << 32",
           "uint64_t(tensor) << 32"),
    Mutant("counter without stream", FILL, "first | uint64_t(stream) << 56", "first"),
    Mutant("no carry past 2**32 blocks", FILL, "origin + uint64_t(block + v * QT_LANES)",
           "(origin & ~0xffffffffull) | uint32_t(origin + uint64_t(block + v * QT_LANES))"),
    Mutant("lane reused", FILL, "w.lane[lane]", "w.lane[lane & 2]", level="v1"),
    Mutant("first lane forgotten", FILL, "return storage + lane", "return storage"),
    Mutant("nine rounds", FILL, "round < 10; ++round)\n      for",
           "round < 9; ++round)\n      for"),
    Mutant("half a key", PHILOX, "k1 = uint32_t(seed >> 32)", "k1 = 0", level="v1"),
    Mutant("offset local, not global", LIBRARY, "uint64_t(tensor.offset + start)",
           "uint64_t(start)"),
    Mutant("stream of moments is that of moves", PHILOX, "STREAM_MOMENT = 1", "STREAM_MOMENT = 0"),
    Mutant("one word for four weights", FILL, "return storage + lane;",
           "for (int64_t i = 0; i < 4 * blocks; ++i) storage[i] = storage[i & ~int64_t{3}];"
           " return storage + lane;"),
    Mutant("antithetic lanes", FILL, "return storage + lane;",
           "for (int64_t i = 1; i < 4 * blocks; i += 2) storage[i] = ~storage[i - 1];"
           " return storage + lane;"),
    Mutant("counter is block plus iteration", FILL,
           "uint64_t(iteration) | uint64_t(tensor) << 32);\n"
           "  const uint64_t origin = first | uint64_t(stream) << 56",
           "uint64_t(tensor) << 32);\n"
           "  const uint64_t origin = (first + iteration) | uint64_t(stream) << 56"),
    Mutant("counter is tensor plus iteration", FILL,
           "uint64_t(iteration) | uint64_t(tensor) << 32", "uint64_t(iteration + tensor)"),
    Mutant("block numbers of 16 bits", FILL, "first | uint64_t(stream) << 56",
           "(first & 0xffff) | uint64_t(stream) << 56"),
    Mutant("every run draws the first words", LIBRARY,
           "STREAM_MOVE, element, count)", "STREAM_MOVE, uint64_t(tensor.offset), count)"),
    # Optimisers
    Mutant("epsilon inside the root", OPTIMISERS,
           "square_root(v) * s.second_scale + s.epsilon",
           "square_root(v + s.epsilon) * s.second_scale"),
    Mutant("second bias correction forgotten", OPTIMISERS, " * s.second_scale", ""),
    Mutant("epsilon before the correction", OPTIMISERS,
           "square_root(v) * s.second_scale + s.epsilon",
           "(square_root(v) + s.epsilon) * s.second_scale"),
    Mutant("no gradients below half precision", OPTIMISERS, "-(s.learning_rate * g)",
           "-(s.learning_rate * (absolute(g) < 6e-8f ? 0.0f : g))"),
    Mutant("infinite gradients move", OPTIMISERS,
           "absolute(gradient) <= 0x1.fffffep127f", "gradient == gradient"),
    Mutant("NaN enters the first moment", OPTIMISERS, "first = possible ? m : first;",
           "first = m;"),
    Mutant("overflow enters the second moment", OPTIMISERS, "second = possible ? v : second;",
           "second = v;"),
    Mutant("NaN enters the momentum", OPTIMISERS, "first = possible ? b : first;", "first = b;"),
    Mutant("overflow of the square unseen", OPTIMISERS, "Asked::kept(m) & Asked::kept(v)",
           "Asked::kept(m)"),
    Mutant("moments that round to infinity", OPTIMISERS, "LARGEST_MOMENT = 0x1.fep127f",
           "LARGEST_MOMENT = 0x1.fffffep127f"),
    Mutant("both moments in one place", LIBRARY,
           "tensor.first,\n                              tensor.second, start",
           "tensor.first,\n                              tensor.first, start"),
    Mutant("another order of products", OPTIMISERS, "s.second_gain * (g * g)",
           "(s.second_gain * g) * g"),
    Mutant("step by the gradient", OPTIMISERS, "-(s.learning_rate * b)",
           "-(s.learning_rate * g)"),
    Mutant("contracted multiply-adds", "", "", "", flags=("-O2", "-ffp-contract=fast")),
    Mutant("bfloat16 rounded to nearest", STORAGE, "bits(x) + sixteen_bits",
           "nearest_bfloat16(bits(x)) << 16"),
    Mutant("both moments take the high bits", STEP, "moment_words[i] & 0xffffu",
           "moment_words[i] >> 16"),
    # Scalars
    Mutant("corrections of the iteration before", SCALARS, "name::scalars(numbers, now)",
           "name::scalars(numbers, now - (now > 1))"),
    Mutant("iteration not counted", SCALARS, "if (!skip) iteration = int64_t(now);", ""),
    Mutant("infinities found are ignored", SCALARS, "*found_inf != 0.0f", "false"),
    Mutant("powers in single precision", OPTIMISERS, "double result = 1.0;",
           "float result = 1.0f;"),
    Mutant("both corrections of the first decay", OPTIMISERS,
           "power(n.second_decay, iteration))),\n                   float(n.epsilon)",
           "power(n.first_decay, iteration))),\n                   float(n.epsilon)"),
    # Normalised gradients
    Mutant("squares summed, not averaged", SQUARES, "sum / double(row)", "sum"),
    Mutant("parts twice as long", SQUARES, "SQUARE_PART = 4096", "SQUARE_PART = 8192"),
    Mutant("sixteen lanes of squares", SQUARES, "SQUARE_LANES = 32", "SQUARE_LANES = 16"),
    Mutant("rows that are not finite move", SQUARES, "possible ? gain : real(NAN_BITS)", "gain"),
    Mutant("mean squares that are not finite are kept", SQUARES, "square = possible ? q : square;",
           "square = q;"),
    Mutant("no gradient has an infinite gain", SQUARES, "root > 0.0f ? s.first_gain / root : 0.0f",
           "s.first_gain / root"),
    Mutant("lanes are added in order", SUM_OF_SQUARES,
           "for (int half = SQUARE_LANES / 2; half > 0; half /= 2)\n"
           "    for (int l = 0; l < half; ++l) lane[l] += lane[l + half];",
           "for (int l = 1; l < SQUARE_LANES; ++l) lane[0] += lane[l];"),
    Mutant("squares of the tail forgotten", SUM_OF_SQUARES,
           "for (int l = 0; i < count; ++i, ++l) lane[l] += double(x[i]) * double(x[i]);", ""),
    Mutant("gain of the first row", STEP, "tensor.gain[row]", "tensor.gain[0]"),
    Mutant("int8 moments to the nearest", STORAGE, "* 0x1p16f) + sixteen_bits;",
           "* 0x1p16f) + 0x8000u;"),
    Mutant("int8 moments in other units", STORAGE, "float(x) * 0.0625f", "float(x) * 0.05f"),
    Mutant("no correction of the running mean", OPTIMISERS,
           "power(n.second_decay, iteration))),\n                   0};", "0.0)),\n"
           "                   0};"),
    # Storage
    Mutant("sign code swapped on reading", STORAGE, "return int32_t(quad <<",
           "return -int32_t(quad <<"),
    Mutant("trit runs into its neighbours", STORAGE,
           "(uint32_t(code) & ((1u << BITS) - 1))", "uint32_t(code)"),
    Mutant("lanes from the top", STORAGE, "<< (BITS * lane);", "<< (BITS * (3 - lane));"),
    Mutant("byte behind the last overwritten", STEP, "(left * BITS + 7) / 8; ++k) bytes",
           "(left * BITS + 15) / 8; ++k) bytes"),
    Mutant("illegal code mistaken", STORAGE, "bad = high & ~low", "bad = high & low"),
    Mutant("visible bfloat16 truncated", STORAGE,
           "return (b + 0x7fffu + ((b >> 16) & 1u)) >> 16", "return b >> 16"),
    # Loops, counters, environment
    Mutant("runs share a byte", STEP, "RUN = 576", "RUN = 574"),
    Mutant("gradients of the weight before", LIBRARY, "tensor.gradient + start * size",
           "tensor.gradient + (start ? start - 1 : 0) * size"),
    Mutant("tail skipped", STEP, "i < count; ++i) {\n    int32_t index",
           "i < (count & ~3); ++i) {\n    int32_t index"),
    Mutant("tail done twice", LIBRARY,
           "functions.move(launch.spec, count, increment, words, moving, counters);",
           "functions.move(launch.spec, count, increment, words, moving, counters); "
           "functions.move(launch.spec, count & 3, increment + (count & ~3),"
           " words + (count & ~3), moving + (count & ~3), counters);"),
    Mutant("moved counts increments", STEP, "next != index", "increment[i] != 0.0f"),
    Mutant("NaN not counted", STEP, "numbers += increment[i] == increment[i]", "numbers += 1"),
    Mutant("counters of the first tensor", LIBRARY, "counters[task.tensor].moved",
           "counters[0].moved"),
    Mutant("denormals flushed as the caller does", POOL, "_mm_setcsr(0x1f80)", "(void)0"),
    Mutant("caller's environment lost", POOL, "_mm_setcsr(saved_);", ";"),
    Mutant("no pool after a fork", POOL,
           "pthread_atfork(nullptr, nullptr, [] { pool = new Pool; })", "(void)0"),
    # Stairs, alone and behind batch norm
    Mutant("stair kernel: a tie goes up", STAIR, "up ? u >= threshold : u > threshold",
           "u >= threshold"),
    Mutant("stair kernel: a tie goes down", STAIR, "up ? u >= threshold : u > threshold",
           "u > threshold"),
    Mutant("stair kernel: windows without their ends", STAIR,
           "absolute(u - threshold) <= half_width", "absolute(u - threshold) < half_width"),
    Mutant("stair kernel: not folded", STAIR, "folded ? absolute(x) : x", "x"),
    Mutant("stair kernel: no sign of a zero", STAIR, "x < F(0) ? -level :",
           "x < F(0) ? F(0) - level :"),
    Mutant("stair kernel: NaN takes a level", STAIR, "x == x ? sided : x", "sided"),
    Mutant("stair kernel: bits from the highest", STAIRS, "0x0102040810204080ull",
           "0x8040201008040201ull"),
    Mutant("stair kernel: counts from the highest", STAIRS,
           "counts[4 * b] | counts[4 * b + 1] << 2 | counts[4 * b + 2] << 4 |\n"
           "                       counts[4 * b + 3] << 6",
           "counts[4 * b + 3] | counts[4 * b + 2] << 2 | counts[4 * b + 1] << 4 |\n"
           "                       counts[4 * b] << 6"),
    Mutant("stair kernel: bits of a last byte left over", STAIRS,
           "for (int64_t i = count; i & 7; ++i) open[i] = 0;", ";"),
    Mutant("stair kernel: a last byte too many", STAIRS,
           "memcpy(kept, packed, size_t((count * size + 7) / 8));",
           "memcpy(kept, packed, size_t(count * size / 8 + 1));"),
    Mutant("halves: a tie goes up", HALVES, "u >= passes ? high", "u + 1 >= passes ? high"),
    Mutant("halves: the sign of a zero", HALVES, "u == 0 ? 0 : sided", "sided"),
    Mutant("halves: windows without their end", HALVES, "width = uint16_t(shut - open)",
           "width = uint16_t(shut - open - 1)"),
    Mutant("halves: infinity times nothing", HALVES, "(u == As::INFINITE && !flags[i])", "false"),
    Mutant("stair kernel: two windows as one", STAIRS,
           "slopes[step] + height<F>(stair, step, half_width)",
           "height<F>(stair, step, half_width)"),
    Mutant("stair kernel: windows of another area", STAIR, "half_width : 2 * half_width)",
           "half_width : half_width)"),
    Mutant("stair kernel: triangles below 0", STAIR, "(reach < F(0) ? F(0) : reach) * peak",
           "reach * peak"),
    Mutant("stair kernel: float16 rounds ties up", HALF, "0x0fffu + (rest >> 13 & 1u)", "0x1000u",
           level="v1"),
    Mutant("stair kernel: float16 without small numbers", HALF, "rest < 0x38800000u ? small",
           "rest < 0x38800000u ? 0u", level="v1"),
    Mutant("stair kernel: float16 has no infinity", HALF, "rest >= 0x47800000u ? 0x7c00u : half",
           "half", level="v1"),
    Mutant("batch norm: mean of d forgotten", NORM, "(d - mean) - deviation * slant",
           "d - deviation * slant"),
    Mutant("batch norm: slant of the other sign", NORM, "(d - mean) - deviation * slant",
           "(d - mean) + deviation * slant"),
    Mutant("batch norm: biased variance in the running numbers", NORM,
           "variance * (count / (count - 1.0))", "variance"),
    Mutant("batch norm: momentum for its complement", NORM,
           "* (1.0 - share) + share * m)", "* share + (1.0 - share) * m)"),
    Mutant("batch norm: eps forgotten", NORM, "variance + norm.eps", "variance"),
    Mutant("batch norm: slant not over the variance", NORM, "product / count * wide * wide",
           "product / count * wide"),
    Mutant("batch norm: gradients of weight and bias swapped", NORM,
           "*weight = float(product * wide), *bias = float(sum)",
           "*bias = float(product * wide), *weight = float(sum)"),
    Mutant("batch norm: the first channel for all", NORMS,
           "k * batch_.channels + channel;", "k * batch_.channels;"),
    Mutant("batch norm: channels_last a place late", NORMS,
           "table[k * batch.channels + channel]",
           "table[k * batch.channels + (channel + 1) % batch.channels]"),
    Mutant("batch norm: the last part forgotten", NORMS, "part < parts; ++part",
           "part < parts - 1; ++part"),
    Mutant("batch norm: lanes of a tail forgotten", SUMS,
           "for (int lane = 0; i < count; ++i, ++lane)",
           "for (int lane = 0; i < count / LANES * LANES; ++i, ++lane)"),
    Mutant("batch norm: columns of a tail forgotten", SUMS,
           "for (int64_t i = column; i < width; ++i) {",
           "for (int64_t i = column; i < width / LANES * LANES; ++i) {"),
]  # fmt: skip

EQUIVALENT = [
    # The increment is cut at the ends before the move, as the paper has it.
    Mutant("clip before the move", WALKER, "return Coin{threshold(probability), near +",
           "const int32_t room = 256;\n"
           "  if (near > room) near = room;\n"
           "  return Coin{threshold(probability), near +"),
    Mutant("the lower end by another name", WALKER, "place > 0 ? place : 0",
           "place >= 0 ? place : 0"),
    Mutant("shorter tasks", LIBRARY, "TASK = 64 * RUN", "TASK = 3 * RUN"),
]  # fmt: skip
