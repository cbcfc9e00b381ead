"""Checks that a mistake in the order of examples, their index or their shares could break."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

PLACE = "cuda/qcuda/data/"


def exact(load: Callable[[str], ModuleType]) -> Iterator:
    """Numbers first, then images in shards."""
    order = load("data/test_order")
    yield "batches", order.test_batches_hold_every_number_once
    yield "shares of batches", order.test_ranks_share_batches_and_go_on_as_others
    for start in (4, 21):
        yield "within a batch", lambda s=start: order.test_an_epoch_goes_on_where_a_batch_begins(s)
    yield "val beside test", order.test_val_chooses_the_model_beside_test
    seen = order.test_an_example_is_seen_by_words_of_seed_epoch_and_position
    yield "words of views", lambda: seen(0, 2)
    chosen = order.test_without_val_some_of_train_choose_the_same_for_every_run
    yield "some of train", chosen
    yield "mirrored images", load("data/test_sets").test_images_are_mirrored_by_their_words

    def images(check: Callable[..., None], *what: int) -> Callable[[], None]:
        def checked() -> None:
            with tempfile.TemporaryDirectory() as folder:
                pictures, shards = Path(folder) / "pictures", Path(folder) / "shards"
                load("data/conftest").write(pictures)
                from qcuda.data.writing import write_shards

                shards.mkdir()
                write_shards(pictures, shards, size=40, per_shard=5, workers=0)
                check(*what, shards)

        return checked

    def on_threads(shards: Path) -> None:
        request = SimpleNamespace(getfixturevalue=lambda _: shards)
        order.test_no_bit_depends_on_threads("shards", request)

    yield "threads", images(on_threads)
    yield "two ranks", images(order.test_two_ranks_are_the_batches_of_one)
    for what in ((2, 3, 1), (0, 2, 2)):
        yield "a stopped epoch", images(order.test_a_stopped_epoch_goes_on_otherwise, *what)
    yield "every image once", images(order.test_an_epoch_sees_every_image_once)
    even = order.test_even_batches_are_alike_on_all_ranks_and_leave_out_others_each_time
    yield "even batches", images(even)
    judged = order.test_both_forms_of_a_set_judge_by_the_same_images
    yield "forms of a set", images(lambda shards: judged(shards.parent / "pictures", shards))
