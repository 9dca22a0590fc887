"""Static tables in folders: model2vec's own vectors, both layouts out, and what each cannot say."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxemb import checkpoint, encode, model
from jaxemb.model import static

GOLDEN = Path(__file__).parent.parent / "golden" / "static"


def quiet(text: str) -> None:
    """Where a report goes that a test does not read."""


@pytest.fixture(scope="module", params=["plain", "shared"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def loaded(name):
    return model.load(GOLDEN / name)


def test_the_vectors_of_model2vec(name, loaded):
    values = np.load(GOLDEN / f"{name}.npz")
    got = model.encode(loaded, values["texts"].tolist(), report=quiet)
    np.testing.assert_allclose(got, values["vectors"], rtol=2e-6, atol=1e-6)


def test_what_is_said(name, loaded):
    limits = {"plain": (True, 6, 12), "shared": (False, None, None)}[name]  # the median token has two letters
    assert (loaded.spec.normalize, loaded.spec.max_length, loaded.spec.max_characters) == limits
    assert loaded.spec.backbone == encode.StaticConfig(vocab_size=11, hidden_size=6, unknown=1)


def test_saved_for_model2vec_and_loaded_is_the_same_model(loaded, tmp_path):
    model.save(loaded, tmp_path / "again", layout="model2vec")
    again = model.load(tmp_path / "again")
    assert again.spec == loaded.spec
    assert model.fingerprint(again) == model.fingerprint(loaded)


def test_texts_cut_by_characters_are_counted():
    said = []
    plain = model.load(GOLDEN / "plain")
    model.encode(plain, ["f " * 7, "f " * 6, "a                b", "f"], report=said.append)
    assert said == ["2 of 4 texts were longer than 6 tokens or 12 characters and lost their end"]


def test_a_static_embedding_is_cut_where_its_tokenizer_says(tmp_path):
    plain = model.load(GOLDEN / "plain")
    spec = replace(
        plain.spec, max_characters=None, backbone=replace(plain.spec.backbone, unknown=None), prompts={"a": "f"}
    )
    cut = model.make(spec, plain.params, plain.tokenizer)
    model.save(cut, tmp_path / "cut")
    assert json.loads((tmp_path / "cut" / "tokenizer.json").read_text())["truncation"]["max_length"] == 6
    again = model.load(tmp_path / "cut")
    assert again.spec == spec
    np.testing.assert_array_equal(*(model.encode(one, ["ab cd " * 9], report=quiet) for one in (again, cut)))
    told = json.loads((tmp_path / "cut" / "tokenizer.json").read_text())
    told["truncation"]["direction"] = "Left"
    (tmp_path / "cut" / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match="truncation must keep the start of a text, got direction 'Left'"):
        model.load(tmp_path / "cut")


def test_modules_may_follow_a_static_embedding(tmp_path):
    plain = model.load(GOLDEN / "plain")
    config = encode.DenseConfig(in_features=6, out_features=2)
    spec = replace(
        plain.spec, max_characters=None, backbone=replace(plain.spec.backbone, unknown=None), modules=(config,)
    )
    params = {
        **plain.params,
        "module_0": {"linear": {"kernel": np.ones((6, 2), np.float32), "bias": np.zeros(2, np.float32)}},
    }
    whole = model.make(spec, params, plain.tokenizer)
    model.save(whole, tmp_path / "m")
    again = model.load(tmp_path / "m")
    assert again.size == 2
    assert model.fingerprint(again) == model.fingerprint(whole)


def test_what_a_layout_cannot_say_is_named(tmp_path):
    plain = model.load(GOLDEN / "plain")

    def saved(layout, **changes):
        backbone = replace(plain.spec.backbone, **changes.pop("backbone", {}))
        spec = replace(plain.spec, backbone=backbone, **changes)
        model.save(model.make(spec, plain.params, plain.tokenizer), tmp_path / "m", layout=layout)

    with pytest.raises(ValueError, match=r"{'unknown': 1, 'max_characters': 12}: save it with layout='model2vec'"):
        saved("sentence-transformers")
    with pytest.raises(
        ValueError, match=r"leaves out the unknown token, 1: StaticConfig\.unknown must be that, got None"
    ):
        saved("model2vec", backbone={"unknown": None})
    with pytest.raises(ValueError, match="reads 12 characters of a text: max_characters must be that, got None"):
        saved("model2vec", max_characters=None)
    with pytest.raises(ValueError, match="neither modules nor prompts"):
        saved("model2vec", prompts={"query": "ab "})
    with pytest.raises(ValueError, match="static tables alone, not BertConfig"):
        model.save(model.load(GOLDEN.parent / "bert" / "new"), tmp_path / "m", layout="model2vec")


def broken(tmp_path: Path, tensors: dict | None = None, config: dict | None = None) -> Path:
    """The golden folder with some tensors or settings changed; those that are None are gone."""
    folder = tmp_path / "broken"
    shutil.copytree(GOLDEN / "shared", folder)
    there = {**checkpoint.read_tensors(folder / "model.safetensors"), **(tensors or {})}
    checkpoint.write_tensors(
        {name: tensor for name, tensor in there.items() if tensor is not None}, folder / "model.safetensors"
    )
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**told, **(config or {})}))
    return folder


@pytest.mark.parametrize(
    ("tensors", "config", "message"),
    [
        ({"embeddings": None}, {}, "wanted one matrix 'embeddings', got .*weights"),
        ({"embeddings": np.zeros(3, np.float32)}, {}, r"wanted one matrix 'embeddings', got .*\(3,\)"),
        ({"surprise": np.zeros(3, np.float32)}, {}, r"left over \['surprise'\]"),
        ({"weights": np.zeros(3, np.float32)}, {}, r"'weights' must have shape \(11,\), got \(3,\)"),
        ({"mapping": np.full(11, 4)}, {}, "'mapping' has rows 4 to 4 of 4"),
        ({"mapping": np.zeros(11, np.float32)}, {}, "'mapping' must be a row number an id, got float32"),
        ({"mapping": np.zeros(3, np.int32), "weights": None}, {}, "the tokenizer has 11 ids, the table 3 rows"),
        ({}, {"model_type": "model2vec", "head_config": {}}, "unknown key 'head_config'"),
        ({}, {"max_length": 0}, "max_length must be a whole number above 0, got 0"),
        ({}, {"normalize": "yes"}, "normalize must be one of"),
    ],
)
def test_broken_folders_are_refused_by_name(tmp_path, tensors, config, message):
    with pytest.raises(ValueError, match=message):
        model.load(broken(tmp_path, tensors, config))


def test_a_static_table_takes_no_pooling():
    with pytest.raises(ValueError, match="averages by itself; pooling must be None, got 'cls'"):
        model.load(GOLDEN / "plain", pooling="cls")


def test_a_folder_is_told_by_its_settings(tmp_path):
    assert static.is_model2vec(GOLDEN / "plain")
    assert not static.is_model2vec(GOLDEN.parent / "bert" / "new")
    assert not static.is_model2vec(tmp_path)
