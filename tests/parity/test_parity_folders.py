"""Model folders of every architecture and every module, both ways between here and sentence-transformers."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.util import maxsim
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from jaxemb import encode, model, similarity

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]

GOLDEN = Path(__file__).parent.parent / "golden"
FAMILIES = sorted(folder.name for folder in (GOLDEN / "families").iterdir())
FOLDERS = ("dense", "joined")
LATE = ("late", "pylate")
TEXTS = ["a b c", "d", "e f g h i j k l m n o p", "b unknown c c c", "a a a a a a"]
LETTERS = [text.replace("unknown", "o") for text in TEXTS]  # transformers reads other words by an architecture's rules


def quiet(text: str) -> None:
    """Where a report goes that a test does not read."""


def tokens(folder: Path, pad: int) -> None:
    """Write a tokenizer of letters whose padding has the id that an architecture counts places by."""
    names = ["[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnop"]
    names.insert(pad, "[PAD]")
    backend = Backend(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    places = [(name, names.index(name)) for name in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=places)
    roles = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    whole = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=10, **roles)
    whole.model_input_names = ["input_ids", "attention_mask"]
    whole.save_pretrained(folder)


@pytest.fixture(scope="module", params=FAMILIES)
def parts(request, tmp_path_factory):
    """A folder as transformers writes it, with a tokenizer."""
    folder = tmp_path_factory.mktemp("family") / request.param
    shutil.copytree(GOLDEN / "families" / request.param, folder)
    (folder / "values.npz").unlink()
    tokens(folder, json.loads((folder / "config.json").read_text()).get("pad_token_id") or 0)
    return folder


@pytest.mark.parametrize("pooling", ["mean", pytest.param("lasttoken", marks=pytest.mark.slow)])
def test_a_family_goes_both_ways(parts, tmp_path, pooling):
    body = Transformer(str(parts))
    size = body.get_embedding_dimension()
    there = SentenceTransformer(modules=[body, Pooling(size, pooling_mode=pooling), Normalize()], device="cpu")
    wanted = there.encode(LETTERS)
    there.save(str(tmp_path / "theirs"), create_model_card=False)
    here = model.load(tmp_path / "theirs")
    np.testing.assert_allclose(model.encode(here, LETTERS, report=quiet), wanted, atol=1e-5)
    model.save(here, tmp_path / "ours")
    again = SentenceTransformer(str(tmp_path / "ours"), device="cpu")
    np.testing.assert_allclose(again.encode(LETTERS), wanted, atol=1e-5)
    plain = model.load(parts, pooling=pooling)
    got = model.encode(model.searchable(plain), LETTERS, report=quiet)
    np.testing.assert_allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize("name", FOLDERS)
def test_modules_and_prompts_go_both_ways(name, tmp_path):
    there, here = (
        SentenceTransformer(str(GOLDEN / "folders" / name), device="cpu"),
        model.load(GOLDEN / "folders" / name),
    )
    model.save(here, tmp_path / "ours")
    again = SentenceTransformer(str(tmp_path / "ours"), device="cpu")
    np.testing.assert_allclose(again.encode(TEXTS), there.encode(TEXTS), atol=1e-5)
    np.testing.assert_allclose(again.encode_query(TEXTS), there.encode_query(TEXTS), atol=1e-5)
    np.testing.assert_allclose(model.encode(here, TEXTS, report=quiet), there.encode(TEXTS), atol=1e-5)
    assert again.similarity_fn_name == there.similarity_fn_name


PROMPTS = ["a b ", "p", "a [SEP] ", "unknown ", "e f g h i j k l m n o p a b c d "]


@pytest.mark.parametrize(
    "pooling", [*encode.POOLINGS, ("max", "lasttoken"), ("lasttoken", "cls", "mean_sqrt_len_tokens")]
)
@pytest.mark.parametrize("include_prompt", [True, False])
def test_poolings_with_and_without_the_prompt(tmp_path, pooling, include_prompt):
    whole = model.load(GOLDEN / "folders" / "dense")
    spec = replace(whole.spec, pooling=pooling, include_prompt=include_prompt, modules=(), normalize=False)
    here = model.make(spec, whole.params, whole.tokenizer)
    model.save(here, tmp_path / "ours")
    there = SentenceTransformer(str(tmp_path / "ours"), device="cpu")
    assert there[1].include_prompt == include_prompt
    for prefix in ("", *PROMPTS):
        got = model.encode(here, TEXTS, prefix=prefix, report=quiet)
        with_text = np.isfinite(
            wanted := there.encode(TEXTS, prompt=prefix)
        )  # a maximum over nothing is minus infinity
        np.testing.assert_allclose(got[with_text], wanted[with_text], atol=1e-5, err_msg=prefix)
        assert (got[~with_text] == 0).all()
    there.save(str(tmp_path / "theirs"), create_model_card=False)
    assert model.load(tmp_path / "theirs").spec == spec


@pytest.mark.parametrize("name", LATE)
def test_late_interaction_goes_both_ways(name, tmp_path):
    there, here = (
        MultiVectorEncoder(str(GOLDEN / "folders" / name), device="cpu"),
        model.load_late(GOLDEN / "folders" / name),
    )
    model.save_late(here, tmp_path / "ours")
    again = MultiVectorEncoder(str(tmp_path / "ours"), device="cpu")
    there.save_pretrained(str(tmp_path / "theirs"), create_model_card=False)
    back = model.load_late(tmp_path / "theirs")
    for side, name in (("query", "encode_query"), ("document", "encode_document")):
        wanted = getattr(there, name)(TEXTS, convert_to_numpy=True)
        for got in (
            model.encode_late(here, TEXTS, side=side, report=quiet),
            model.encode_late(back, TEXTS, side=side, report=quiet),
            getattr(again, name)(TEXTS, convert_to_numpy=True),
        ):
            for one, other in zip(got, wanted, strict=True):
                np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("expansion", [None, "fixed", "min"])
@pytest.mark.parametrize("attend", [True, False])
def test_queries_filled_up_either_way(tmp_path, expansion, attend):
    one = model.load_late(GOLDEN / "folders" / "late")
    told = (
        None
        if expansion is None
        else model.Expansion(token="[MASK]", length=6, attend=attend, cut=expansion == "fixed")
    )
    spec = replace(one.spec, expansion=told, query_length=8, skipping=("query", "document"))
    if expansion == "fixed":
        spec = replace(spec, query_length=None)
    here = model.make_late(spec, one.params, one.tokenizer)
    model.save_late(here, tmp_path / "ours")
    there = MultiVectorEncoder(str(tmp_path / "ours"), device="cpu")
    texts = [*TEXTS, "a . b , c"]
    wanted = there.encode_query(texts, convert_to_numpy=True)
    for got, other in zip(model.encode_late(here, texts, side="query", report=quiet), wanted, strict=True):
        np.testing.assert_allclose(got, other, atol=1e-5)


def test_maxsim_is_theirs():
    draw = np.random.default_rng(0)
    query, document = (draw.normal(size=shape).astype(np.float32) for shape in ((4, 5, 6), (7, 8, 6)))
    asked, there = (draw.integers(0, 2, shape) for shape in ((4, 5), (7, 8)))
    there[3] = 0  # a document without tokens
    wanted = maxsim(*(torch.tensor(part) for part in (query, document, asked, there))).numpy()
    query, document, asked, there = (jnp.asarray(part) for part in (query, document, asked, there))
    got = similarity.maxsim(query, document, query_mask=asked, document_mask=there)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
