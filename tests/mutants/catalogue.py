"""Mistakes that a kernel author could make, as data: what to replace in which header.

Every one must be caught by the agreement tests, except those that are EQUIVALENT: other words for
the same function, which must pass. `level` is the build that compiles the line.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    name: str
    file: str  # inside cuda/csrc; "" changes flags only
    text: str
    replacement: str
    count: int = 1  # how often the text occurs
    level: str = "v3"
    flags: tuple[str, ...] = ()


CORE, PHILOX, FILL = "core.h", "philox.h", "cpu/philox_fill.h"
WALKER, STORAGE, OPTIMISERS = "algorithms/walker.h", "storage.h", "optimisers.h"
DST, ROUNDING = "algorithms/dst.h", "algorithms/deterministic_rounding.h"
STEP, LIBRARY, POOL = "cpu/step.h", "cpu/library.cpp", "cpu/pool.h"

MUTANTS = [
    # Decisions
    Mutant("<= for <", CORE, "(word < finite)", "(word <= finite)"),
    Mutant("24-bit words", CORE, "(word < finite)", "((word >> 8) < (finite >> 8))"),
    Mutant("certainty forgotten", CORE, "(p >= 1.0f) | (word", "(word"),
    Mutant("signed comparison", CORE, "(word < finite)", "(int32_t(word) < int32_t(finite))"),
    Mutant("p and 1 - p swapped", WALKER, "below(word, Rule::probability(spec, index, s))",
           "below(word, 1.0f - Rule::probability(spec, index, s))"),
    # Moves
    Mutant("negative increments go up", WALKER, "signed_as(s.sign, moves)", "moves"),
    Mutant("complement for minus", WALKER, "(n ^ sign) - sign", "n ^ sign"),
    Mutant("all increments go up", WALKER, "increment / spec.spacing",
           "absolute(increment / spec.spacing)"),
    Mutant("whole spacings forgotten", WALKER, "moves = s.whole + ", "moves = "),
    Mutant("no lower end", WALKER, "next > 0 ? next : 0", "next"),
    Mutant("no upper end", WALKER, "next < last ? next : last", "next"),
    Mutant("upper end off by one", WALKER, "last = spec.size - 1", "last = spec.size - 2"),
    Mutant("NaN moves", WALKER, "moves &= -int32_t(increment == increment);", ""),
    Mutant("spacing ignored", WALKER, "increment / spec.spacing", "increment"),
    Mutant("reciprocal of the spacing", WALKER, "increment / spec.spacing",
           "increment * (1.0f / spec.spacing)"),
    # Rules
    Mutant("tanh off by 1e-3", DST, "tanh_rational(m * s.fraction)",
           "tanh_rational(1.001f * m * s.fraction)"),
    Mutant("tanh off by 1e-5", DST, "0.13374463061541894f", "0.1337546f"),
    Mutant("nonlinearity ignored", DST, "tanh_rational(m * s.fraction)",
           "tanh_rational(s.fraction + 0.0f * m)"),
    Mutant("tie at the value 0", ROUNDING, "half_way >= spec.zero", "half_way > spec.zero"),
    Mutant("ties always move", ROUNDING, "(s.fraction == 0.5f) & outward", "s.fraction == 0.5f"),
    Mutant("ties inward", ROUNDING, "== (s.sign == 0)", "!= (s.sign == 0)"),
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
    # Optimisers
    Mutant("epsilon inside the root", OPTIMISERS,
           "square_root(second) * s.second_scale + s.epsilon",
           "square_root(second + s.epsilon) * s.second_scale"),
    Mutant("second bias correction forgotten", OPTIMISERS, " * s.second_scale", ""),
    Mutant("another order of products", OPTIMISERS, "s.second_gain * (g * g)",
           "(s.second_gain * g) * g"),
    Mutant("step by the gradient", OPTIMISERS, "return -(s.learning_rate * first);",
           "return -(s.learning_rate * g);"),
    Mutant("contracted multiply-adds", "", "", "", flags=("-O2", "-ffp-contract=fast")),
    Mutant("bfloat16 rounded to nearest", STORAGE, "? sixteen_bits : 0u",
           "? 0x7fffu + ((b >> 16) & 1u) : 0u"),
    Mutant("both moments take the high bits", STEP, "moment_words[i] & 0xffffu",
           "moment_words[i] >> 16"),
    # Storage
    Mutant("sign code swapped on reading", STORAGE, "return int32_t(uint32_t(byte)",
           "return -int32_t(uint32_t(byte)"),
    Mutant("trit runs into its neighbours", STORAGE, "(uint32_t(code) & 3u)", "uint32_t(code)"),
    Mutant("lanes from the top", STORAGE, "<< (2 * lane))", "<< (6 - 2 * lane))"),
    Mutant("byte behind the last overwritten", STEP, "bytes[whole] = last;",
           "bytes[whole] = last; bytes[whole + 1] = 0;"),
    Mutant("illegal code mistaken", STORAGE, "bad = high & ~low", "bad = high & low"),
    Mutant("visible bfloat16 truncated", STORAGE,
           "return (b + 0x7fffu + ((b >> 16) & 1u)) >> 16", "return b >> 16"),
    Mutant("bfloat16 NaN rounded", STORAGE, "magnitude < 0x7f800000u ?", "magnitude < ~0u ?"),
    # Loops, counters, environment
    Mutant("tail skipped", STEP, "i < count; ++i) {\n    int32_t index",
           "i < (count & ~3); ++i) {\n    int32_t index"),
    Mutant("tail done twice", LIBRARY,
           "functions.move(launch.spec, count, increment, words, (int8_t *)tensor.state + start,"
           " counters);",
           "functions.move(launch.spec, count, increment, words, (int8_t *)tensor.state + start,"
           " counters); functions.move(launch.spec, count & 3, increment + (count & ~3),"
           " words + (count & ~3), (int8_t *)tensor.state + start + (count & ~3), counters);"),
    Mutant("moved counts increments", STEP, "next != index", "increment[i] != 0.0f"),
    Mutant("NaN not counted", STEP, "numbers += increment[i] == increment[i]", "numbers += 1"),
    Mutant("counters of the first tensor", LIBRARY, "counters[task.tensor].moved",
           "counters[0].moved"),
    Mutant("denormals flushed as the caller does", POOL, "_mm_setcsr(0x1f80)", "(void)0"),
    Mutant("caller's environment lost", POOL, "_mm_setcsr(saved_);", ";"),
    Mutant("no pool after a fork", POOL,
           "pthread_atfork(nullptr, nullptr, [] { pool = new Pool; })", "(void)0"),
]  # fmt: skip

EQUIVALENT = [
    Mutant("the lower end by another name", WALKER, "next > 0 ? next : 0", "next >= 0 ? next : 0"),
    # Arithmetic has set the quiet bit of every NaN that reaches the rounding of a moment.
    Mutant("quiet bit left to arithmetic", STORAGE, "? 0x00400000u : 0u", "? 0u : 0u"),
    Mutant("shorter tasks", LIBRARY, "TASK = 64 * RUN", "TASK = 3 * RUN"),
]
