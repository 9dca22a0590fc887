"""Weights of a model folder: one file, or several with an index that must agree with them."""

import json
import re

import numpy as np
import pytest

from jaxemb import checkpoint
from jaxemb.types import Entry

PARTS = {
    "model-00001-of-00002.safetensors": {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3)},
    "model-00002-of-00002.safetensors": {"b.weight": np.ones(4, np.float32), "b.bias": np.zeros(4, np.float32)},
}
WHERE = {name: file for file, tensors in PARTS.items() for name in tensors}


@pytest.fixture
def sharded(tmp_path):
    for file, tensors in PARTS.items():
        checkpoint.write_tensors(tensors, tmp_path / file)
    index = {"metadata": {"total_size": 56}, "weight_map": WHERE}
    (tmp_path / checkpoint.INDEX).write_text(json.dumps(index))
    return tmp_path


def test_every_tensor_of_every_listed_file(sharded):
    got = checkpoint.read_weights(sharded)
    assert got.keys() == WHERE.keys()
    for tensors in PARTS.values():
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(got[name], tensor)


def test_one_file_is_read_as_it_is(tmp_path):
    checkpoint.write_tensors({"a": np.ones(2, np.float32)}, tmp_path / checkpoint.WEIGHTS)
    assert list(checkpoint.read_weights(str(tmp_path))) == ["a"]


def test_one_file_beside_an_index_is_ambiguous(sharded):
    checkpoint.write_tensors({"a": np.ones(2, np.float32)}, sharded / checkpoint.WEIGHTS)
    with pytest.raises(ValueError, match="got both"):
        checkpoint.read_weights(sharded)


def test_a_listed_file_that_is_not_there_is_named(sharded):
    (sharded / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"lists files that are not there: model-00002-of-00002\.safetensors"):
        checkpoint.read_weights(sharded)


@pytest.mark.parametrize(
    ("where", "error", "message"),
    [
        (
            {**WHERE, "c": "model-00002-of-00002.safetensors"},
            ValueError,
            r"lists \['c'\] that it lacks, and not nothing",
        ),
        ({k: v for k, v in WHERE.items() if k != "b.bias"}, ValueError, r"lists nothing .* and not \['b\.bias'\]"),
        ({**WHERE, "a.weight": "../outside.safetensors"}, ValueError, "a.weight must be in a file of the same folder"),
        ({**WHERE, "a.weight": 3}, ValueError, "a.weight must be in a file of the same folder, got 3"),
        ({}, ValueError, "wanted 'weight_map'"),
    ],
)
def test_an_index_that_does_not_agree_is_refused(sharded, where, error, message):
    (sharded / checkpoint.INDEX).write_text(json.dumps({"weight_map": where}))
    with pytest.raises(error, match=message):
        checkpoint.read_weights(sharded)


def test_pickles_are_refused_unopened(sharded, tmp_path):
    (sharded / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    (sharded / checkpoint.INDEX).write_text(json.dumps({"weight_map": {"a": "pytorch_model.bin"}}))
    with pytest.raises(ValueError, match=r"pytorch_model\.bin: only \.safetensors weights are read"):
        checkpoint.read_weights(sharded)
    (sharded / checkpoint.INDEX).unlink()
    with pytest.raises(FileNotFoundError, match=r"'pytorch_model\.bin'.*never opened"):
        checkpoint.read_weights(sharded)


def test_an_index_that_is_no_json_is_named(sharded):
    (sharded / checkpoint.INDEX).write_text("{")
    with pytest.raises(ValueError, match=r"index\.json: not JSON"):
        checkpoint.read_weights(sharded)


def test_old_names_of_norms_are_todays(tmp_path):
    old = {
        "x.LayerNorm.gamma": np.ones(2, np.float32),
        "LayerNorm.beta": np.zeros(2, np.float32),
        "ls.gamma": np.ones(1),
    }
    checkpoint.write_tensors(old, tmp_path / checkpoint.WEIGHTS)
    assert sorted(checkpoint.read_weights(tmp_path)) == ["LayerNorm.bias", "ls.gamma", "x.LayerNorm.weight"]
    checkpoint.write_tensors({**old, "LayerNorm.bias": np.ones(2)}, tmp_path / checkpoint.WEIGHTS)
    with pytest.raises(ValueError, match=r"LayerNorm\.beta is LayerNorm\.bias by an old name, and both are there"):
        checkpoint.read_weights(tmp_path)


def test_a_layer_of_another_shape_is_named_as_the_checkpoint_names_it():
    entry = Entry("blocks.qk", ("h.{layer}.q", "h.{layer}.k"), transpose=True, sizes=(4, 2))
    like = {"blocks": {"qk": np.zeros((2, 3, 6), np.float32)}}
    tensors = checkpoint.to_foreign(like, [entry])
    assert {name: tensor.shape for name, tensor in tensors.items() if "1" in name} == {"h.1.q": (4, 3), "h.1.k": (2, 3)}
    for wrong in ((2, 5), (3, 3), (2,)):
        with pytest.raises(ValueError, match=rf"fit: h\.1\.k: wanted shape \(2, 3\), got {re.escape(str(wrong))}"):
            checkpoint.from_foreign({**tensors, "h.1.k": np.zeros(wrong, np.float32)}, [entry], like)
