"""Numbers that must be written twice, because a language or an import is between them."""

import re
from collections.abc import Callable
from enum import IntEnum

import pytest

from qcuda.kernels import abi, readings
from qtheory import streams

Sources = Callable[..., dict[str, str]]


def enumerators(source: str, name: str, prefix: str = "") -> dict[str, int]:
    """What a C++ header lists in an enum, without a prefix."""
    found = re.search(rf"enum {name} : \w+ {{([^}}]*)}}", source)
    assert found is not None, name
    pairs = (entry.split("=") for entry in found[1].split(",") if entry.strip())
    return {key.strip().removeprefix(prefix): int(value) for key, value in pairs}


@pytest.mark.parametrize(
    ("ours", "path", "prefix"),
    [
        (streams.Stream, "cuda/csrc/philox.h", "STREAM_"),
        (abi.Error, "cuda/csrc/cpu/library.cpp", ""),
        (abi.Storage, "cuda/csrc/abi.h", "STORAGE_"),
        (abi.Real, "cuda/csrc/abi.h", "REAL_"),
    ],
)
def test_enums_are_those_of_the_kernels(
    ours: type[IntEnum], path: str, prefix: str, sources: Sources
):
    source = sources(".h", ".cpp")[path]
    theirs = enumerators(source, ours.__name__, prefix)
    assert theirs == {member.name: member.value for member in ours}


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        (readings.SHOWN, "Shown"),
        (readings.SCALES, "Scale"),
        (readings.WINDOWS, "Window"),
        (readings.FACTORS, "Factor"),
        (readings.GAIN_SLOPES, "GainSlope"),
    ],
)
def test_words_of_readings_are_those_of_the_kernels(
    ours: tuple[str, ...], name: str, sources: Sources
):
    prefix = re.sub("(?<=[a-z])(?=[A-Z])", "_", name).upper() + "_"
    theirs = enumerators(sources(".h")["cuda/csrc/reading.h"], name, prefix)
    assert theirs == {word.upper(): number for number, word in enumerate(ours)}
    noises = re.findall(r"f\((\w+)Noise\)", sources(".h")["cuda/csrc/reading.h"])
    assert tuple(map(str.lower, noises)) == readings.NOISES


def test_an_enum_that_lacks_a_member_is_found():
    found = enumerators("enum Stream : uint32_t { STREAM_MOVE = 0, STREAM_X = 3 };", "Stream")
    assert found == {"STREAM_MOVE": 0, "STREAM_X": 3}


def test_limits_of_the_abi_are_those_of_the_streams():
    assert (abi.MAX_SEED, abi.MAX_ELEMENT) == (streams.MAX_SEED, streams.MAX_ELEMENT)
