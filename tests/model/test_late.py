"""A vector for every token: the reference's vectors and scores, and folders in and out."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxemb import encode, model, similarity

GOLDEN = Path(__file__).parent.parent / "golden" / "folders"


def quiet(text: str) -> None:
    """Where a report goes that a test does not read."""


@pytest.fixture(scope="module", params=["late", "pylate"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def late(name):
    return model.load_late(GOLDEN / name)


@pytest.fixture(scope="module")
def values(name):
    return dict(np.load(GOLDEN / f"{name}.npz"))


def vectors(late, values, side):
    return model.encode_late(late, values["texts"].tolist(), side=side, report=quiet)


@pytest.mark.parametrize("side", ["query", "document"])
def test_the_reference_vectors(late, values, side):
    got = vectors(late, values, side)
    assert [len(one) for one in got] == values[f"{side}_counts"].tolist()
    np.testing.assert_allclose(np.concatenate(got), values[side], atol=1e-5)
    assert late.size == got[0].shape[1]


def test_the_reference_scores(late, values):
    query, document = (model.stacked(vectors(late, values, side)) for side in ("query", "document"))
    got = similarity.maxsim(query.vectors, document.vectors, query_mask=query.mask, document_mask=document.mask)
    np.testing.assert_allclose(got, values["scores"], atol=1e-4)


def test_saved_and_loaded_is_the_same_model(late, values, tmp_path):
    model.save_late(late, tmp_path / "again")
    again = model.load_late(tmp_path / "again")
    assert again.spec == late.spec
    for side in ("query", "document"):
        np.testing.assert_array_equal(
            np.concatenate(vectors(again, values, side)), np.concatenate(vectors(late, values, side))
        )


def test_what_is_said():
    late = model.load_late(GOLDEN / "late").spec
    assert late.expansion == model.Expansion(token="[MASK]", length=9)
    assert (late.query_length, late.document_length, late.skipped) == (None, 11, (".", ",", "absent"))
    assert late.prompts == {"query": "q ", "document": "d "}
    pylate = model.load_late(GOLDEN / "pylate").spec
    assert pylate.expansion == model.Expansion(token="[MASK]", length=8, attend=True)
    assert (pylate.document_length, pylate.max_length, pylate.skipped) == (10, 15, (".", "!"))
    assert pylate.prompts == {"query": "[unused0]", "document": "[unused1]"}
    assert pylate.normalize


def test_the_prefix_of_pylate_becomes_its_token():
    tokenizer = model.load_late(GOLDEN / "pylate").tokenizer
    assert tokenizer.ids(["[unused0]a"]).rows[0].tolist() == [2, 5, tokenizer.vocabulary["a"], 3]


def test_order_and_batch_change_nothing_and_what_is_cut_is_said(late, monkeypatch):
    texts = ["a b c", "d", "e f g h i j k l m n o p q r s t"] * 3
    said = []
    together = model.encode_late(late, texts, side="document", report=said.append)
    assert len(said) == 1
    assert said[0].startswith("3 of 9 texts were longer than")
    monkeypatch.setattr("jaxemb.model.late.AT_ONCE", 16)
    alone = model.encode_late(late, texts[::-1], side="document", report=quiet)[::-1]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)
    assert model.encode_late(late, [], side="query") == []


def test_queries_that_are_not_cut_are_only_filled_up():
    one = model.load_late(GOLDEN / "late")
    spec = replace(one.spec, expansion=replace(one.spec.expansion, cut=False, length=5), prompts={})
    late = model.make_late(spec, one.params, one.tokenizer)
    got = model.encode_late(late, ["a", "a b c d e f"], side="query", report=quiet)
    assert [len(each) for each in got] == [5, 8]


def test_a_backbone_alone_gives_its_states():
    one = model.load_late(GOLDEN / "late")
    spec = model.LateSpec(backbone=one.spec.backbone, modules=(), normalize=False, max_length=16)
    late = model.make_late(spec, one.params, one.tokenizer)
    tokens = late.tokenizer(["a b c"])
    wanted = encode.bert(spec.backbone).apply(one.params, tokens)
    np.testing.assert_allclose(model.encode_late(late, ["a b c"], side="query")[0], wanted[0, :5], atol=1e-6)


def test_stacked_by_hand():
    got = model.stacked([np.ones((1, 2), np.float32), np.full((3, 2), 2, np.float32)], longest=3)
    np.testing.assert_array_equal(got.vectors[:, :, 0], [[1, 0, 0], [2, 2, 2]])
    np.testing.assert_array_equal(got.mask, [[1, 0, 0], [1, 1, 1]])
    with pytest.raises(ValueError, match="a text has 3 vectors, wanted 2 at most"):
        model.stacked([np.ones((3, 2), np.float32)], longest=2)
    with pytest.raises(ValueError, match=r"vectors of one size, got sizes \[\]"):
        model.stacked([])


def test_the_two_kinds_of_folder_are_told_apart():
    with pytest.raises(ValueError, match="a vector for every token; read it with load_late"):
        model.load(GOLDEN / "late")
    with pytest.raises(ValueError, match="not a late-interaction model; read it with load"):
        model.load_late(GOLDEN / "dense")


def test_bad_input_is_named(late, as_users_call):
    with pytest.raises(TypeError, match="wanted a list of texts, got one text, 'a b'"):
        model.encode_late(late, "a b", side="query")
    with pytest.raises(ValueError, match="side must be 'query' or 'document', got 'passage'"):
        model.encode_late(late, ["a"], side="passage")
    with pytest.raises(TypeError, match="text 1 is float, wanted str"):
        model.encode_late(late, ["a", 1.5], side="query", prefix="q ")
    spec = replace(late.spec, expansion=model.Expansion(token="[OWL]", length=5))
    with pytest.raises(ValueError, match=r"filled up with '\[OWL\]', which is no token"):
        model.make_late(spec, late.params, late.tokenizer)
    with pytest.raises(ValueError, match="a document must have from 1 to the encoder's 16 positions, got 17"):
        model.make_late(replace(late.spec, document_length=17), late.params, late.tokenizer)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "config_sentence_transformers.json",
            {"similarity_fn_name": "meanmaxsim"},
            "similarity_fn_name must be one of",
        ),
        ("config_sentence_transformers.json", {"surprise": 1}, "unknown key 'surprise'"),
        ("2_MultiVectorMask/config.json", {"keep_only_token_ids": [3]}, "keep_only_token_ids must be one of"),
        ("sentence_bert_config.json", {"query_expansion": {"strategy": "owl", "length": 9}}, "strategy must be one of"),
        ("sentence_bert_config.json", {"query_expansion": {"strategy": "min"}}, "length must be a whole number"),
        ("sentence_bert_config.json", {"document_length": "9"}, "document_length must be a whole number above 0"),
        ("2_MultiVectorMask/config.json", {"skiplist_words": "ab"}, "skiplist_words must be a list of texts, got 'ab'"),
        ("3_Normalize/config.json", {"module_input_name": "sentence_embedding"}, "module_input_name must be one of"),
        ("1_Dense/config.json", {"in_features": 9}, r"linear.kernel: wanted shape \(9, 6\), got \(8, 6\)"),
    ],
)
def test_broken_folders_are_refused_by_name(tmp_path, file, content, message):
    shutil.copytree(GOLDEN / "late", tmp_path / "m")
    path = tmp_path / "m" / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **content}))
    with pytest.raises(ValueError, match=message):
        model.load_late(tmp_path / "m")


def test_modules_of_other_kinds_are_named(tmp_path):
    shutil.copytree(GOLDEN / "late", tmp_path / "m")
    rows = json.loads((tmp_path / "m" / "modules.json").read_text())
    for kept, message in (
        (
            [rows[0], rows[1], {**rows[2], "type": "pylate.models.HierarchicalTokenPooling"}],
            "got .*HierarchicalTokenPooling",
        ),
        ([rows[0], rows[1], rows[3]], "queries are filled up, but no MultiVectorMask module scores"),
    ):
        (tmp_path / "m" / "modules.json").write_text(json.dumps(kept))
        with pytest.raises(ValueError, match=message):
            model.load_late(tmp_path / "m")


def test_a_late_folder_and_a_plain_one_never_replace_each_other(late, tmp_path):
    for kind, save, ours, message in (
        ("dense", model.save_late, late, r"got a model of the modules \['Transformer', 'Pooling'"),
        ("late", model.save, model.load(GOLDEN / "dense"), "got a late-interaction model"),
    ):
        there = shutil.copytree(GOLDEN / kind, tmp_path / kind)
        with pytest.raises(FileExistsError, match=message):
            save(ours, there)
        assert sorted(file.name for file in there.iterdir()) == sorted(file.name for file in (GOLDEN / kind).iterdir())
    model.save_late(late, tmp_path / "late")  # which replaces it
