"""What is DistilBERT's own: the names of its config, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import encode
from jaxemb.encode.text.distilbert import parse
from jaxemb.types import Tokens

# As distilbert-base-uncased has it.
REAL = {
    "activation": "gelu", "architectures": ["DistilBertForMaskedLM"], "attention_dropout": 0.1, "dim": 768,
    "dropout": 0.1, "hidden_dim": 3072, "initializer_range": 0.02, "max_position_embeddings": 512,
    "model_type": "distilbert", "n_heads": 12, "n_layers": 6, "pad_token_id": 0, "qa_dropout": 0.1,
    "seq_classif_dropout": 0.2, "sinusoidal_pos_embds": False, "tie_weights_": True,
    "transformers_version": "4.10.0.dev0", "vocab_size": 30522,
}  # fmt: skip


def test_a_real_config_is_the_default():
    assert parse(REAL) == encode.DistilBertConfig()
    assert parse({**REAL, "dim": 24, "n_heads": 3}).hidden_size == 24


def test_segments_are_not_read(drawn):
    config = encode.DistilBertConfig(vocab_size=9, dim=4, n_layers=1, n_heads=2, hidden_dim=6)
    backbone = encode.distilbert(config)
    params, states = drawn(backbone), jax.jit(backbone.apply)
    assert set(params["embeddings"]) == {"tokens", "positions", "norm"}
    plain = Tokens(jnp.array([[1, 2]]), jnp.array([[1, 1]]))
    pair = plain._replace(segments=jnp.array([[0, 1]]))
    np.testing.assert_array_equal(states(params, plain), states(params, pair))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bert"}, r"model_type must be one of \['distilbert'\], got 'bert'"),
        ({"activation": "mish"}, "hidden_act 'mish' is unknown; there is gelu"),
        ({"n_heads": 5}, "hidden_size 768 is no multiple of 5 heads"),
        ({"hidden_size": 768}, r"unknown keys \['hidden_size'\]"),
    ],
)
def test_configs_of_other_models_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        parse({**REAL, **change})
