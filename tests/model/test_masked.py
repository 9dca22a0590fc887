"""Masked language models: read from transformers' folders, written, and asked for words."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers

from jaxemb import model
from jaxemb.types import Tokens

GOLDEN = Path(__file__).parent.parent / "golden" / "heads"
NAMES = sorted(folder.name for folder in GOLDEN.glob("*-words*"))


def tokenizer_file(size: int) -> str:
    backend = Backend(models.WordLevel({"[MASK]": 1, **{f"w{i}": i for i in range(size) if i != 1}}, unk_token="w0"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return backend.to_str()


@pytest.fixture(params=NAMES)
def golden(request, tmp_path):
    """A folder of the reference library, with a tokenizer."""
    folder = tmp_path / "golden"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((GOLDEN / request.param / name).read_bytes())
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    (folder / "tokenizer.json").write_text(tokenizer_file(size))
    return folder, dict(np.load(GOLDEN / request.param / "values.npz"))


def test_a_folder_gives_the_logits_of_the_reference_and_so_does_its_copy(golden, tmp_path):
    folder, values = golden
    first = model.load_masked(folder)
    model.save_masked(first, tmp_path / "copy")
    second = model.load_masked(tmp_path / "copy")
    assert second.head == first.head
    assert second.backbone == first.backbone
    kept = values["mask"] > 0
    for one in (first, second):
        got = np.asarray(one.language.apply(one.params, Tokens(values["ids"], values["mask"], values.get("segments"))))
        np.testing.assert_allclose(got[kept], values["logits"][kept], atol=1e-5)


@pytest.fixture
def bert(tmp_path):
    folder = tmp_path / "bert"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((GOLDEN / "bert-words" / name).read_bytes())
    (folder / "tokenizer.json").write_text(
        tokenizer_file(json.loads((folder / "config.json").read_text())["vocab_size"])
    )
    return folder


def test_words_are_the_largest_logits_of_the_first_masked_place(bert):
    loaded = model.load_masked(bert)
    tokens = Tokens(np.array([[5, 1, 7, 1]], np.int32), np.ones((1, 4), np.int32))
    logits = np.asarray(loaded.language.apply(loaded.params, tokens))[0, 1]
    names = {number: word for word, number in loaded.tokenizer.vocabulary.items()}
    wanted = [names[int(number)] for number in np.argsort(-logits)[:3]]
    assert model.fill(loaded, ["w5 [MASK] w7 [MASK]"], top=3) == [wanted]


def test_what_has_no_words_to_fill_is_refused(bert):
    loaded = model.load_masked(bert)
    with pytest.raises(ValueError, match=r"text 1 has no '\[MASK\]' in its first"):
        model.fill(loaded, ["w5 [MASK]", "w5"])
    with pytest.raises(ValueError, match="the tokenizer has no token '<mask>'"):
        model.fill(loaded, ["w5 <mask>"], mask="<mask>")


def test_bad_folders_are_refused_by_name(bert, tmp_path):
    told = json.loads((bert / "config.json").read_text())
    (bert / "config.json").write_text(json.dumps({**told, "architectures": ["BertModel"]}))
    with pytest.raises(ValueError, match=r"config.json: bert config: architectures must be one for MaskedLM"):
        model.load_masked(bert)
    (bert / "config.json").write_text(json.dumps(told))
    (bert / "tokenizer.json").write_text(tokenizer_file(told["vocab_size"] + 3))
    with pytest.raises(ValueError, match=rf"the tokenizer has {told['vocab_size'] + 3} ids, the encoder"):
        model.load_masked(bert)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "modules.json").write_text("[]")
    (bert / "tokenizer.json").write_text(tokenizer_file(told["vocab_size"]))
    with pytest.raises(ValueError, match=r"got a model with modules.json"):
        model.save_masked(model.load_masked(bert), tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["modules.json"]


@pytest.mark.parametrize("kind", ["images/vit", "heads/bert-classes"])
def test_a_folder_of_another_kind_is_never_replaced(bert, tmp_path, kind):
    there = shutil.copytree(GOLDEN.parent / kind, tmp_path / "there")
    (there / "notes.txt").write_text("years of work")
    with pytest.raises(
        FileExistsError, match=r"a folder of the same kind, got (ViTModel|BertForSequenceClassification)"
    ):
        model.save_masked(model.load_masked(bert), there)
    assert (there / "notes.txt").read_text() == "years of work"
    model.save_masked(model.load_masked(bert), bert)  # of its own kind


def test_what_cannot_be_filled_is_said(bert, as_users_call):
    loaded = model.load_masked(bert)
    assert model.fill(loaded, []) == []
    with pytest.raises(TypeError, match=r"wanted a list of texts, got one text, 'w5 \[MASK\]'"):
        model.fill(loaded, "w5 [MASK]")
    with pytest.raises(ValueError, match="top must be 1 or more, got 0"):
        model.fill(loaded, ["w5 [MASK]"], top=0)
    tables = loaded.params["embeddings"]["tokens"]
    broken = {**loaded.params["embeddings"], "tokens": {"table": tables["table"].at[7].set(np.nan)}}
    with pytest.raises(FloatingPointError, match=r"a logit of text 0 is not finite: 'w7 \[MASK\]'"):
        model.fill(loaded._replace(params={**loaded.params, "embeddings": broken}), ["w7 [MASK]", "w5 [MASK]"])


def test_the_mask_is_the_tokenizers_own(bert):
    wanted = model.fill(model.load_masked(bert), ["w5 [MASK]"])
    (bert / "tokenizer_config.json").write_text(json.dumps({"mask_token": "w9"}))
    loaded = model.load_masked(bert)
    assert model.fill(loaded, ["w5 w9"]) == model.fill(loaded, ["w5 w9"], mask="w9")
    assert model.fill(loaded, ["w5 [MASK]"], mask="[MASK]") == wanted


def test_float32_products_are_whole(bert, monkeypatch):
    loaded, asked = model.load_masked(bert), []
    apply = loaded.language.apply

    def watched(*inputs):
        asked.append(jax.config.jax_default_matmul_precision)
        return apply(*inputs)

    for dtype, wanted in (("float32", "highest"), ("bfloat16", "default")):
        one = loaded._replace(language=loaded.language._replace(apply=watched), dtype=jnp.dtype(dtype))
        model.fill(one, ["w5 [MASK]"])
        assert asked.pop() == wanted


def test_products_of_other_types_are_refused(bert):
    with pytest.raises(ValueError, match=r"dtype must be one of .*, got int8"):
        model.load_masked(bert, dtype="int8")
