"""What a network sees of an image: crops and mirrors are those of their words, pixels those of the
crop."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qcuda.data.config import Images
from qcuda.data.decoding import RATIO, TRIES, WORDS, centre, random_box, view
from qcuda.data.images import Folder, Views
from qcuda.data.reading import stacked
from qcuda.data.source import inked

ANY = st.integers(0, 2**32 - 1)
SIDES = st.integers(1, 300)


@given(
    height=SIDES,
    width=SIDES,
    least=st.sampled_from([0.08, 0.5, 1.0]),
    drawn=st.lists(ANY, min_size=WORDS, max_size=WORDS),
)
def test_a_crop_lies_inside_and_has_its_area_and_ratio(
    height: int, width: int, least: float, drawn: list[int]
):
    top, left, high, wide = random_box(height, width, least, drawn)
    assert 0 <= top <= height - high and 0 <= left <= width - wide and high > 0 and wide > 0
    if (top, left, high, wide) == centre(height, width, 1.0):
        return
    # Sides are rounded to whole pixels: each is wrong by half of one at most.
    assert (high + 0.5) * (wide + 0.5) >= least * height * width
    assert (wide - 0.5) / (high + 0.5) <= RATIO and (high - 0.5) / (wide + 0.5) <= RATIO


def test_a_crop_is_the_first_try_that_fits_and_is_placed_by_two_words():
    middle = 2**31  # of the area, and a square
    words = [middle] * WORDS
    side = round(math.sqrt(100 * 200 * (0.5 + 0.5 * (middle + 0.5) / 2**32)))
    assert side > 100  # no square of that area fits
    assert random_box(100, 200, 0.5, words) == centre(100, 200, 1.0) == (0, 50, 100, 100)
    words[TRIES - 1], words[2 * TRIES - 1] = 0, 2**32 - 1  # the last try: half the area, 4 to 3
    for first, second, place in ((0, 0, (0, 0)), (2**32 - 1, 2**32 - 1, (13, 85))):
        words[2 * TRIES], words[2 * TRIES + 1] = first, second
        assert random_box(100, 200, 0.5, words) == (*place, 87, 115)
    words[0] = words[TRIES] = 0  # an earlier one: 3 to 4
    assert random_box(150, 200, 0.5, words)[2:] == (141, 106)


def test_areas_are_uniform_and_crops_anywhere():
    """By Hoeffding's inequality, the mean of n numbers in [0, 1] is off by more than
    sqrt(log(2e9) / 2n), here below .03, at most once in 1e9; a bias of .06 is missed as seldom."""
    drawn = np.random.default_rng(3).integers(0, 2**32, (20_000, WORDS))
    boxes = np.array([random_box(400, 400, 0.08, words) for words in drawn.tolist()])
    inside = boxes[(boxes[:, 2] < 380) & (boxes[:, 3] < 380)]
    assert math.sqrt(math.log(2e9) / (2 * len(inside))) < 0.03
    for column, side in ((0, 2), (1, 3)):
        places = (inside[:, column] + 0.5) / (400 - inside[:, side] + 1)
        assert abs(places.mean() - 0.5) < 0.03
    ratios = np.log(inside[:, 3] / inside[:, 2]) / math.log(RATIO) / 2 + 0.5
    assert abs(ratios.mean() - 0.5) < 0.03
    # Areas above .75 of a square may not fit, whatever the ratio; all below do.
    areas = boxes[:, 2] * boxes[:, 3] / 400**2
    below = areas[areas < 0.75]
    assert len(below) > 0.8 * len(areas)
    assert abs(((below - 0.08) / (0.75 - 0.08)).mean() - 0.5) < 0.03


def test_a_view_is_its_crop():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    assert np.array_equal(view(pixels, (3, 7, 20, 20), 20), pixels[3:23, 7:27])
    flipped = view(pixels, (3, 7, 20, 20), 20, mirrored=True)
    assert np.array_equal(flipped, pixels[3:23, 7:27][:, ::-1])
    pixels[10:20, 30:45] = (1, 2, 3)
    assert (view(pixels, (10, 30, 10, 15), 24) == (1, 2, 3)).all()
    # Half as large, of blocks of four equal pixels: antialiasing takes neighbours in, by a triangle
    # of weights 1, 3, 3, 1 over eighths in each direction.
    blocks = np.kron(np.arange(64, dtype=np.uint8).reshape(8, 8), np.ones((2, 2), np.uint8))
    smaller = view(blocks[..., None], (0, 0, 16, 16), 8)[..., 0]
    ramp = np.arange(64).reshape(8, 8)[1:-1, 1:-1]  # which is linear, so that nothing changes
    assert np.abs(smaller[1:-1, 1:-1].astype(int) - ramp).max() <= 1  # of rounding in fixed point


def test_pixels_of_a_batch_are_ink():
    found = inked(torch.tensor([0, 51, 255], dtype=torch.uint8))
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.tensor([0.0, 51.0, 255.0]) / 255)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), np.uint8)
    batch = stacked([pixels[0], pixels[1, :, ::-1]])  # the second in a mirror
    assert batch.is_contiguous()
    expected = [pixels[0].transpose(2, 0, 1), pixels[1, :, ::-1].transpose(2, 0, 1)]
    assert torch.equal(batch, inked(torch.from_numpy(np.stack(expected))))


@pytest.mark.parametrize(("flip", "word", "mirrored"), [
    (0.5, 2**31 - 1, True), (0.5, 2**31, False), (0.0, 0, False), (1.0, 2**32 - 1, True),
])  # fmt: skip
def test_training_sees_the_crop_of_its_words_and_judging_the_centre(
    flip: float, word: int, mirrored: bool, tmp_path: Path
):
    from data.conftest import drawn, encoded

    pixels = drawn(11)
    (tmp_path / "a.png").write_bytes(encoded(pixels, "PNG"))
    files = Folder([str(tmp_path / "a.png")], torch.tensor([0]))
    config = Images(size=16, least_area=0.3, flip=flip, centre=0.5)
    words = [*np.random.default_rng(1).integers(0, 2**32, WORDS - 1).tolist(), word]
    height, width = pixels.shape[:2]
    seen = Views(files, config).read(0, words)
    box = random_box(height, width, 0.3, words)
    assert np.array_equal(seen, view(pixels, box, 16, mirrored=mirrored))
    judged = Views(files, config).read(0, None)
    assert np.array_equal(judged, view(pixels, centre(height, width, 0.5), 16))
