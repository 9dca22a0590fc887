"""What is put before a text: which of a model's prompts, and how many tokens that makes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxemb import model
from jaxemb.model import prompts

GOLDEN = Path(__file__).parent.parent / "golden" / "folders"


@pytest.fixture(scope="module")
def one():
    return model.load(GOLDEN / "joined")


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, "q r s "),
        ({"prompt": "query"}, "a b "),
        ({"prompt": "document"}, ""),
        ({"prefix": ""}, ""),
        ({"prefix": "c "}, "c "),
    ],
)
def test_a_prefix_goes_before_a_name_and_a_name_before_the_default(one, asked, wanted):
    assert prompts.resolved(one.spec, asked.get("prompt"), asked.get("prefix")) == wanted


def test_a_typo_names_what_there_is(one):
    with pytest.raises(ValueError, match="the model has no prompt 'qeury'; it has 'document', 'query', 'task'"):
        model.encode(one, ["a"], prompt="qeury")
    with pytest.raises(ValueError, match="wanted the name of a prompt or a prefix, got both: 'query' and 'a '"):
        model.encode(one, ["a"], prompt="query", prefix="a ")


def test_a_default_that_is_not_there_is_refused(one):
    with pytest.raises(ValueError, match=r"default prompt 'owl' is none of the prompts \['query', 'task'\]"):
        model.make(replace(one.spec, default_prompt="owl"), one.params, one.tokenizer)


def test_empty_prompts_of_tasks_are_kept_and_of_sides_say_nothing(tmp_path):
    shutil.copytree(GOLDEN / "joined", tmp_path / "m")
    told = {"prompts": {"query": "", "document": None, "STS": ""}, "default_prompt_name": None}
    file = tmp_path / "m" / "config_sentence_transformers.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **told}))
    found = model.load(tmp_path / "m")
    assert found.spec.prompts == {"STS": ""}
    np.testing.assert_array_equal(*(model.encode(found, ["a"], prompt=name) for name in ("STS", "query")))


def test_the_tokens_of_a_prompt_stand_after_the_first_special_one(one):
    assert prompts.tokens_of(one.tokenizer, "a b ") == 3
    assert prompts.tokens_of(one.tokenizer, "a [SEP]") == 3  # [CLS] a [SEP], and the last [SEP] that is added


def test_a_prompt_left_out_is_attended_to_but_not_pooled(one):
    spec = replace(one.spec, pooling="mean", modules=(), default_prompt=None)
    left_out = model.make(spec, one.params, one.tokenizer)
    counted = model.make(replace(spec, include_prompt=True), one.params, one.tokenizer)
    tokens = one.tokenizer(["a b c d"])  # [CLS] a b c d [SEP]
    pooled = np.zeros_like(tokens.mask)
    pooled[:, 3:6] = 1
    wanted = left_out.encoder.apply(one.params, tokens._replace(counted=pooled))
    np.testing.assert_allclose(model.encode(left_out, ["c d"], prompt="query"), wanted, atol=1e-6)
    whole = model.encode(counted, ["c d"], prompt="query")
    np.testing.assert_allclose(whole, model.encode(left_out, ["a b c d"]), atol=1e-6)
    assert not np.allclose(whole, wanted, atol=1e-3)
