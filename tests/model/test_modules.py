"""Modules after pooling, read and written: the reference's vectors, either generation, and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxemb import checkpoint, encode, model
from jaxemb.model import modules

GOLDEN = Path(__file__).parent.parent / "golden" / "folders"
ASKED = {
    "dense": {"plain": {}},
    "joined": {
        "plain": {},
        "query": {"prompt": "query"},
        "document": {"prompt": "document"},
        "prefix": {"prefix": "c "},
        "nothing": {"prefix": ""},
    },
}
"""What each folder was asked for, and how we ask for it."""


THEIRS = "sentence_transformers.models"


def quiet(text: str) -> None:
    """Where a report goes that a test does not read."""


@pytest.fixture(scope="module", params=ASKED)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def loaded(name):
    return model.load(GOLDEN / name)


@pytest.fixture(scope="module")
def values(name):
    return dict(np.load(GOLDEN / f"{name}.npz"))


def test_the_reference_vectors(name, loaded, values):
    for asked, how in ASKED[name].items():
        got = model.encode(loaded, values["texts"].tolist(), report=quiet, **how)
        np.testing.assert_allclose(got, values[asked], atol=1e-5, err_msg=asked)
    assert loaded.size == got.shape[1]


def test_saved_and_loaded_is_the_same_model(loaded, values, tmp_path):
    model.save(loaded, tmp_path / "again")
    again = model.load(tmp_path / "again")
    assert again.spec == loaded.spec
    assert model.fingerprint(again) == model.fingerprint(loaded)
    got = model.encode(again, values["texts"].tolist(), report=quiet)
    np.testing.assert_allclose(got, values["plain"], atol=1e-5)


def test_what_is_said(loaded, name):
    told = {
        "dense": {
            "pooling": "mean",
            "normalize": True,
            "modules": (
                encode.DenseConfig(in_features=8, out_features=12),
                encode.DenseConfig(in_features=12, out_features=6, bias=False, activation="Identity"),
            ),
        },
        "joined": {
            "pooling": ("weightedmean", "cls"),
            "normalize": False,
            "include_prompt": False,
            "default_prompt": "task",
            "similarity": "dot",
            "prompts": {"query": "a b ", "task": "q r s "},
            "modules": (
                encode.LayerNormConfig(dimension=16),
                encode.NormalizeConfig(),
                encode.DenseConfig(in_features=16, out_features=5, activation="GELU", residual=True),
            ),
        },
    }[name]
    assert told == {field: getattr(loaded.spec, field) for field in told}


def test_modules_learn_with_the_rest(loaded):
    tokens = loaded.tokenizer(["a b c", "d"])
    gradient = jax.grad(lambda params: loaded.encoder.apply(params, tokens).sum())(loaded.params)
    for i, config in enumerate(loaded.spec.modules):
        leaves = jax.tree.leaves(gradient.get(f"module_{i}", {}))
        assert bool(leaves) == (not isinstance(config, encode.NormalizeConfig))
        assert all((leaf != 0).any() for leaf in leaves)


def test_a_bfloat16_model_keeps_direction(loaded):
    half, texts = model.in_precision(loaded, "bfloat16"), ["a b c", "d", "e f g"]
    a, b = model.encode(half, texts), model.encode(loaded, texts)
    assert ((a * b).sum(axis=1) > 0.999 * np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)).all()
    assert not np.allclose(a, b, atol=1e-7)


def test_models_that_differ_in_a_module_have_other_fingerprints():
    one = model.load(GOLDEN / "dense")
    spec = replace(one.spec, modules=(replace(one.spec.modules[0], activation="SiLU"), one.spec.modules[1]))
    moved = {**one.params, "module_1": jax.tree.map(lambda leaf: leaf + 1e-3, one.params["module_1"])}
    others = (model.make(spec, one.params, one.tokenizer), one._replace(params=moved))
    assert len({model.fingerprint(each) for each in (one, *others)}) == 3


ALL = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("mean",), {"cls_token": False, "max_tokens": False, "mean_tokens": True, "mean_sqrt_len_tokens": False}),
        (("max", "lasttoken"), {"max_tokens": True, "lasttoken": True}),
        (("lasttoken", "max"), None),
        (ALL, dict.fromkeys(("cls_token", "weightedmean_tokens", "lasttoken"), True)),
    ],
)
def test_poolings_are_written_as_the_first_releases_read_them_where_they_can(tmp_path, names, wanted):
    told = modules.pooling_settings(names, True, 8)
    if wanted is None:
        assert told == {"word_embedding_dimension": 8, "pooling_mode": list(names)}
    else:
        flags = {f"pooling_mode_{name}": value for name, value in wanted.items()}
        assert flags.items() <= told.items()
        assert len(told) == (5 if names == ("mean",) else len(told))  # no key that release 2.0 does not know
    (tmp_path / "config.json").write_text(json.dumps(told))
    assert modules.read_pooling(tmp_path) == modules.Pooled(names, True, 8)


def test_without_a_flag_the_mean_is_meant(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"word_embedding_dimension": 8, "pooling_mode_cls_token": False}))
    assert modules.read_pooling(tmp_path).names == ("mean",)


def changed(tmp_path: Path, file: str, content: object) -> Path:
    """The folder `dense` with some keys of a file changed, or the file another."""
    shutil.copytree(GOLDEN / "dense", tmp_path / "changed")
    path = tmp_path / "changed" / file
    if isinstance(content, dict):
        content = {**json.loads(path.read_text()), **content}
    path.write_text(json.dumps(content))
    return tmp_path / "changed"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "2_Dense/config.json",
            {"out_features": 13},
            r"2_Dense: .*linear.kernel: wanted shape \(8, 13\), got \(8, 12\)",
        ),
        ("2_Dense/config.json", {"surprise": 1}, "2_Dense/config.json: unknown key 'surprise'"),
        ("2_Dense/config.json", {"activation_function": "torch.nn.Mish"}, "activation 'Mish' is unknown"),
        ("2_Dense/config.json", {"activation_function": "mine.Tanh"}, "must be a class of torch.nn, got 'mine.Tanh'"),
        ("2_Dense/config.json", {"in_features": "8"}, "in_features must be a whole number above 0, got '8'"),
        ("2_Dense/config.json", {"bias": 1}, "bias must be true or false, got 1"),
        ("2_Dense/config.json", {"bias": False}, "2_Dense: .*left over linear.bias"),
        ("2_Dense/config.json", {"module_input_name": "token_embeddings"}, "must be one of .'sentence_embedding'"),
        ("1_Pooling/config.json", {"embedding_dimension": 9}, "its Pooling is for states of 9, they have 8"),
        ("1_Pooling/config.json", {"pooling_mode": ["mean", "owl"]}, "pooling_mode must be one of .*got"),
        ("1_Pooling/config.json", {"pooling_mode": "max", "include_prompt": 0}, "include_prompt must be true or false"),
        ("1_Pooling/config.json", {"pooling_mode": ["max", "mean"]}, "module 0 .* takes vectors of 8, but 16 reach it"),
        ("1_Pooling/config.json", ["mean"], "wanted names and values"),
        ("sentence_bert_config.json", {"query_length": 8}, "query_length must be one of .None., got 8"),
        ("sentence_bert_config.json", {"processing_kwargs": {"text": {}}}, "processing_kwargs must be one of"),
        ("tokenizer_config.json", {"truncation_side": "left"}, "truncation_side must be 'right', got 'left'"),
        ("config_sentence_transformers.json", {"prompts": {"q": 1}}, "the prompt 'q' must be a text, got 1"),
        ("config_sentence_transformers.json", {"similarity_fn_name": "euclidean"}, "similarity_fn_name must be one of"),
    ],
)
def test_broken_settings_are_refused_by_name(tmp_path, file, content, message):
    with pytest.raises(ValueError, match=message):
        model.load(changed(tmp_path, file, content))


@pytest.mark.parametrize(
    "kinds",
    [
        ("Transformer", "Dense", "Pooling"),
        ("Transformer", "Dense"),
        ("Pooling", "Transformer"),
        ("Transformer", "Pooling", "Pooling"),
        ("Transformer", "Pooling", "Dropout"),
        ("Dense",),
        (),
    ],
)
def test_modules_in_an_impossible_order_are_named(tmp_path, kinds):
    places = {"Transformer": "", "Pooling": "1_Pooling", "Dense": "2_Dense"}
    rows = [{"idx": i, "path": places.get(kind, kind), "type": f"{THEIRS}.{kind}"} for i, kind in enumerate(kinds)]
    with pytest.raises(ValueError, match=r"modules\.json: wanted Transformer and Pooling.*got"):
        model.load(changed(tmp_path, "modules.json", rows))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"type": "custom_st.Transformer"}, "a module's class must be of sentence_transformers. or pylate., got 'cust"),
        ({"kwargs": ["task"]}, r"kwargs must be one of \[None, \[\]\], got \['task'\]"),
        ({"surprise": 1}, "unknown key 'surprise'"),
        ({"idx": "0"}, "a module needs a number idx and texts path and type"),
        ({"path": None}, "a module needs a number idx and texts path and type"),
    ],
)
def test_rows_of_the_list_that_say_more_than_is_known_are_refused(tmp_path, row, message):
    rows = json.loads((GOLDEN / "dense" / "modules.json").read_text())
    with pytest.raises(ValueError, match=message):
        model.load(changed(tmp_path, "modules.json", [{**rows[0], **row}, *rows[1:]]))


def test_a_list_of_modules_that_is_no_list_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"modules\.json: wanted a list of modules, got"):
        model.load(changed(tmp_path, "modules.json", "Transformer"))


def test_a_pickle_of_a_module_is_refused_unopened(tmp_path):
    folder = changed(tmp_path, "2_Dense/config.json", {})
    (folder / "2_Dense" / "model.safetensors").rename(folder / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"2_Dense.*found \['pytorch_model.bin'\].*never opened"):
        model.load(folder)


def test_a_module_with_too_many_tensors_is_refused(tmp_path):
    folder = changed(tmp_path, "2_Dense/config.json", {})
    file = folder / "2_Dense" / "model.safetensors"
    checkpoint.write_tensors({**checkpoint.read_tensors(file), "surprise": np.zeros(1)}, file)
    with pytest.raises(ValueError, match=r"2_Dense: .*left over surprise"):
        model.load(folder)


def test_an_old_name_of_the_settings_file_and_a_module_outside(tmp_path):
    folder = changed(tmp_path, "sentence_bert_config.json", {"max_seq_length": 7})
    (folder / "sentence_bert_config.json").rename(folder / "sentence_roberta_config.json")
    assert model.load(folder).spec.max_length == 7
    rows = [{"idx": 0, "path": "../elsewhere", "type": f"{THEIRS}.Transformer"}]
    (folder / "modules.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=r"a module's path must lie inside, got '\.\./elsewhere'"):
        model.load(folder)


def test_a_folder_of_transformers_needs_a_pooling_and_no_other_does(tmp_path):
    folder = changed(tmp_path, "sentence_bert_config.json", {})
    with pytest.raises(ValueError, match=r"modules\.json says how to pool"):
        model.load(folder, pooling="mean")
    (folder / "modules.json").unlink()
    with pytest.raises(ValueError, match="nothing says how to pool; say it, as pooling='mean'"):
        model.load(folder)
    plain = model.load(folder, pooling="max")
    whole = model.load(GOLDEN / "dense")
    spec = replace(whole.spec, pooling="max", modules=(), normalize=False)
    same = model.make(spec, whole.params, whole.tokenizer)
    np.testing.assert_array_equal(model.encode(plain, ["a b"]), model.encode(same, ["a b"]))
