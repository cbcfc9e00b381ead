"""Checks of the training job: what a run is, without fixtures, so that a mutant's process runs
them on its copy of the packages."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def checks(load: Callable[[str], ModuleType]) -> Iterator:
    """The cheap ones first."""
    reach, data = load("train/test_reach"), load("train/test_data")
    loop, evidence = load("train/test_loop"), load("train/test_evidence")
    epoch, law = load("train/test_epoch"), load("train/test_law_audit")
    for name in ("cnn", "mlp"):
        yield (
            "values of the model",
            lambda n=name: reach.test_numbers_of_a_model_reach_its_layers(n),
        )
    for method, levels in (("ste", 3), ("full", None)):
        yield (
            "levels of baselines",
            lambda m=method, n=levels: (
                reach.test_baselines_have_the_levels_and_the_activations_of_their_method(m, n)
            ),
        )
    yield "least memory", lambda: reach.test_a_model_keeps_as_little_as_is_asked("least")
    yield "values of the base", reach.test_a_base_optimiser_has_its_numbers
    yield "rates of methods", reach.test_rates_belong_to_their_methods
    yield "values of the algorithm", reach.test_knobs_of_an_algorithm_reach_its_optimiser
    yield "seeds", reach.test_a_seed_reaches_levels_latents_and_words
    yield "values of the data", reach.test_numbers_of_the_data_reach_it
    audited = reach.test_an_audit_of_the_law_is_for_those_who_ask_and_move_on_lattices
    yield "who is audited", audited
    for shape, middle in ((loop.Cosine(), 0.505), (loop.Exponential(), 0.1)):
        yield (
            "shapes of schedules",
            lambda s=shape, m=middle: loop.test_learning_rates_fall_from_the_first_to_the_last(
                s, m
            ),
        )
    yield (
        "tables of schedules",
        loop.test_a_table_reaches_every_group_and_takes_any_function_of_time,
    )
    adaptive = load("train/test_adaptive")
    yield "rules of schedules", adaptive.test_spread_is_the_rule_of_the_exact_room
    yield (
        "wanted moves",
        adaptive.test_moved_raises_what_moves_too_little_and_lowers_what_moves_too_much,
    )
    progress = adaptive.test_progress_is_that_of_the_epoch_to_come_and_the_highest_value_is_kept
    yield "progress of rules", progress
    yield "the squared hinge", loop.test_the_loss_is_the_squared_hinge
    for levels, lattice in ((2, loop.Lattice.binary()), (3, loop.Lattice.ternary())):
        yield (
            "nearest levels",
            lambda n=levels, it=lattice: loop.test_straight_through_weights_are_the_nearest_levels(
                n, it
            ),
        )
    yield "the split", data.test_the_test_set_is_fixed
    for seed, number in ((0, 1), (7, 3)):
        yield (
            "order of the data",
            lambda s=seed, n=number: evidence.test_the_order_of_an_epoch_is_that_of_its_words(s, n),
        )
    yield "parts of the data", evidence.test_the_parts_of_a_source_are_those_of_the_split
    yield "an epoch's images", data.test_an_epoch_is_its_batches_of_shifted_images
    yield "the split is whole", data.test_the_split_is_disjoint_whole_and_stratified
    yield "the best epoch", epoch.test_the_best_epoch_is_by_accuracy_then_by_loss_then_the_first
    for method in epoch.METHODS:
        yield (
            "epochs of a plain loop",
            lambda m=method: epoch.test_epochs_are_those_of_a_plain_loop(m),
        )
    counted = epoch.test_levels_and_moves_of_a_record_are_counted_on_every_layer
    yield "records", counted
    yield (
        "evaluation",
        epoch.test_evaluation_changes_nothing_and_judges_with_running_statistics,
    )
    yield "evidence", evidence.test_evidence_is_of_every_layer_and_of_all_epochs
    yield "knobs of an epoch", evidence.test_the_law_of_a_step_is_that_of_the_knobs_of_its_epoch
    yield "moves of coins", evidence.test_mean_and_variance_of_moves_are_those_of_coins
    impossible = evidence.test_an_impossible_move_is_counted_on_any_layer_and_for_ever
    yield "impossible moves", impossible
    yield "times of checkpoints", epoch.test_checkpoints_are_written_when_it_is_time
    for stop, steps in ((1, 0), (2, 0), (3, 0), (1, 1), (4, 1)):
        yield (
            "resumed jobs",
            lambda s=stop, n=steps: epoch.test_a_job_that_was_killed_goes_on_with_its_bits(s, n),
        )
    early = epoch.test_weights_that_move_in_the_backward_pass_make_the_same_run
    yield "steps in the backward pass", early
    learning = load("train/test_learning")
    yield "smoothed labels", learning.test_cross_entropy_with_smoothed_labels
    yield "parts of a batch", learning.test_parts_of_a_batch_have_the_gradient_of_the_whole

    def once() -> None:
        with pytest.MonkeyPatch.context() as patch:
            learning.test_weights_are_read_once_for_all_parts("float32", patch)

    yield "weights read once", once

    def shared() -> None:
        with pytest.MonkeyPatch.context() as patch:
            load("train/test_ranks").test_ranks_share_what_they_judge(8, [6, 2], False, patch)

    yield "judging by ranks", shared
    yield "unequal parts", learning.test_unequal_parts_count_by_their_examples
    yield "shares of ranks", learning.test_shares_of_ranks_count_by_their_examples
    yield "replays", learning.test_a_replay_counts_what_went_elsewhere
    yield "teachers", learning.test_what_a_teacher_says_is_learned_by_its_probabilities

    def taught() -> None:
        with tempfile.TemporaryDirectory() as folder:
            learning.test_a_teacher_has_its_share_of_the_loss(0.25, Path(folder))

    yield "shares of teachers", taught
    floats = load("train/test_floats")

    def in_folder(check: Callable[..., None], *what: Any) -> Callable[[], None]:
        def checked() -> None:
            with tempfile.TemporaryDirectory() as folder:
                check(*what, Path(folder))

        return checked

    begun = floats.test_every_method_begins_at_the_levels_nearest_to_float_weights
    for method in ("walker8", "ste"):
        yield "float weights", in_folder(begun, method)
    learned = floats.test_learned_numbers_of_a_reader_follow_the_weights
    yield "float weights of readers", in_folder(learned)
    refused = floats.test_weights_of_another_network_are_refused
    yield "other float weights", in_folder(refused, lambda s: s.pop("fc.bias"), "got fc.bias miss")
    yield "clipped gradients", learning.test_gradients_are_clipped_together
    anew = learning.test_statistics_are_taken_anew_from_the_first_examples_of_an_epoch
    for restate, batches in ((0, 0), (4, 1), (5, 2)):
        yield "statistics anew", lambda r=restate, b=batches: anew(r, b)
    averaged = learning.test_a_model_is_judged_with_averages_and_trained_without
    for method, restate in (("dst", 0), ("full", 4)):
        yield "averages", lambda m=method, r=restate: averaged(m, r)
    judged = learning.test_the_loss_of_a_config_is_the_one_that_is_trained_and_judged
    yield "another loss", lambda: judged("cross_entropy")
    yield "results", epoch.test_a_job_has_the_results_of_the_plain_loop_for_each_seed
    yield "states of schedules", adaptive.test_a_checkpoint_has_the_states_of_schedules
    yield "back to the best", adaptive.test_it_goes_back_to_the_best_and_on_with_new_words
    yield "averages anew", adaptive.test_an_average_begins_anew_where_training_goes_back_to
    follows = adaptive.test_the_knob_follows_from_the_losses_and_moves_of_each_epoch
    yield "what rules see", follows
    yield "probes under a schedule", loop.test_probes_follow_a_knob_that_has_a_schedule
    yield "e-values", law.test_terms_are_e_values_and_those_of_the_evidence_package
    for name in law.MANY:
        yield "laws kept", lambda n=name: law.test_every_algorithm_keeps_its_law(n)
        yield (
            "laws of many places",
            lambda n=name: law.test_another_temperature_is_noticed_where_there_are_many_places(n),
        )
    yield (
        "impossible places",
        law.test_a_level_that_is_not_possible_is_counted_where_there_are_many,
    )
    yield "the stated bias", law.test_the_stated_bias_is_noticed
    read = load("train/test_readers")
    for stem in ("ana", "learned_steps", "prune_quantize"):
        yield "readers", lambda s=stem: read.test_every_reader_is_a_method(s)
    inq = read.test_inq_freezes_share_after_share_and_keeps_none_before_the_last
    yield "shares that are frozen", inq
    yield "knobs of readers", read.test_a_schedule_turns_the_knob_of_a_reader
    yield "words of readers", read.test_words_of_a_random_reader_are_those_of_the_iteration
    yield "levels of readers", read.test_numbers_of_levels_choose_the_lattice
