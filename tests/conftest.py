"""Set before anything else imports jax: eight CPU devices, and mistakes that JAX lets pass made errors."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jaxtyping
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


LONGEST = ("test_quickstart.py", "test_snippets.py", "test_fit.py", "test_cli.py")


SELDOM: dict[str, tuple[str, ...]] = {
    "test_cli.py::test_bench_and_leaderboard": (),
    "test_quickstart.py::test_run_again_it_uses_what_is_there": (),
    "test_loss_laws.py::test_every_form_in_parts_and_on_many_devices": ("tiled ring-sharded-4",),
    "test_small_encoders.py::test_value_and_gradient_are_finite_with_texts_without_tokens": ("lstms", "attention"),
    "test_small_encoders.py::test_no_weight_is_left_out": ("lstms", "attention"),
    "test_encoder_families.py::test_apply_gives_the_last_of_them": (),
    "test_encoder_families.py::test_a_row_of_padding_is_finite_in_value_and_gradient": ("bert", "llama"),
    "test_encoder_families.py::test_bfloat16_stays_close_and_params_stay_float32": ("bert", "gemma3"),
    "test_image_encoders.py::test_gradients_reach_every_leaf_but_the_statistics": (),
    "test_image_encoders.py::test_what_stands_beside_it_in_a_batch_changes_no_vector": ("clip", "resnet"),
    "test_merged.py::test_every_operator_of_tensors_writes_a_model_that_lies_between": (),
    "test_merged.py::test_it_is_the_merge_of_whole_trees": ("average", "slerp", "model-stock"),
    "test_encoder_families.py::test_padding_and_what_stands_in_it_change_nothing": ("bert", "gemma3"),
    "test_encoder_families.py::test_many_devices_equal_one": ("bert",),
    "test_image_encoders.py::test_many_devices_equal_one": ("clip",),
    "test_compressors.py::test_jit_changes_nothing": (),
    "test_merge_tasks.py::test_sharded_equals_one_device": ("ties",),
    "test_heads.py::test_padding_changes_nothing_and_gradients_reach_every_weight": ("bert-classes",),
    "test_refresh.py::test_stopped_anywhere_it_goes_on_to_the_same": (),
    "test_index_products.py::test_nearly_the_same_scores_on_one_device_and_on_eight": ("truncate-12-bfloat16-0.008",),
    "test_index_exact.py::test_scores_are_those_of_the_compressor": ("int8", "bits"),
    "test_small_golden.py::test_torch_computes_the_same": ("lstm",),
    "test_lora.py::test_the_start_is_the_base_and_adapters_are_small": ("lora",),
    "test_remat.py::test_values_and_gradients_are_equal": ("layers in a compiled function, in bfloat16",),
    "test_objective.py::test_fit_reads_groups_on_a_mesh": (),
    "test_dupmae.py::test_the_masked_loss_of_few_positions_is_that_of_all": (),
    "test_dupmae.py::test_terms_of_no_weight_are_left_out": (),
    "test_peg.py::test_no_strength_is_plain_info_nce": (),
    "test_bebr.py::test_codes_of_earlier_steps_are_negatives": (),
    "test_defsent_plus.py::test_a_stage_learns_to_select_and_its_logits_begin_with_the_spread": (),
    "test_compress_recurrent.py::test_gradients_reach_every_leaf": (),
    "test_compress_recurrent.py::test_a_compatible_start_finds_old_codes_of_a_space_that_was_turned": (),
    "test_index_fast_scan.py::test_scores_are_those_of_the_compressor": ("bebr-24x2", "pq-6x4", "bits"),
    "test_index_rescored.py::test_scores_are_those_of_the_second_step": ("int8", "rabitq-2"),
    "test_upgrade.py::test_models_of_two_sizes_have_no_shift_and_fidelity_needs_no_judgements": (),
    "test_adapted_dense_retrieval.py::test_every_way_of_finding_negatives_has_its_loss": ("None-nearest", "0.1-batch"),
    "test_corpus.py::test_memory_does_not_grow_with_the_corpus": (),
    "test_masked.py::test_a_folder_gives_the_logits_of_the_reference_and_so_does_its_copy": ("bert-words",),
}
"""Tests that take long and repeat what others show: with which params CI runs them; all of them with `-m grid`."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is run seldom.  What takes longest comes first: of two workers, none is left alone with it."""
    for item in items:
        often = SELDOM.get(f"{item.path.name}::{getattr(item, 'originalname', item.name)}")
        params = getattr(item, "callspec", None)
        if often is not None and (params is None or params.id not in often):
            item.add_marker(pytest.mark.grid)
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="module")
def compiled_quickly():
    """Programs are compiled with few optimisations: for laws of many that are run once."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def as_users_call(monkeypatch):
    """Without the shape checks that only tests have, so that the library's own messages are what a test sees."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
