"""What is RoBERTa's own: places are counted from the padding's id on, and a padding token in a text counts none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import encode
from jaxemb.encode.text.roberta import CLASSES, ROBERTA, describe, parse
from jaxemb.types import Tokens

TINY = {"vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 6}


def tokens(*ids):
    return Tokens(jnp.array([ids]), jnp.ones((1, len(ids)), jnp.int32))


@pytest.mark.parametrize(
    ("pad", "ids", "rows"),
    [
        (1, (0, 5, 6), (2, 3, 4)),
        (3, (0, 5, 6), (4, 5, 6)),
        (1, (0, 1, 5, 1, 1, 6), (2, 1, 3, 1, 1, 4)),  # the padding's own row, and no place lost
    ],
)
def test_which_row_a_token_reads(drawn, pad, ids, rows):
    config = encode.RobertaConfig(**TINY, max_position_embeddings=10, pad_token_id=pad)
    backbone = encode.roberta(config)
    params = drawn(backbone)
    tables = {name: np.asarray(part["table"]) for name, part in params["embeddings"].items() if name != "norm"}
    summed = tables["tokens"][list(ids)] + tables["positions"][list(rows)] + tables["segments"][0]
    normed = (summed - summed.mean(axis=1, keepdims=True)) / summed.std(axis=1, keepdims=True)
    norm = {name: np.asarray(leaf) for name, leaf in params["embeddings"]["norm"].items()}
    got = jax.jit(backbone.hidden)(params, tokens(*ids))[0, 0]
    np.testing.assert_allclose(got, normed * norm["scale"] + norm["bias"], atol=1e-5)


@pytest.mark.parametrize("pad", [1, 3])
def test_the_longest_text_is_what_the_padding_leaves(pad):
    config = encode.RobertaConfig(**TINY, max_position_embeddings=10, pad_token_id=pad)
    longest = ROBERTA.longest(config)
    assert longest == 10 - pad - 1
    backbone = encode.roberta(config)
    params = jax.eval_shape(backbone.init, jax.random.key(0))
    assert jax.eval_shape(backbone.apply, params, tokens(*[5] * longest)).shape == (1, longest, 4)
    with pytest.raises(ValueError, match=f"{longest + 1} tokens a text, but only {longest} positions"):
        jax.eval_shape(backbone.apply, params, tokens(*[5] * (longest + 1)))


@pytest.mark.parametrize("name", CLASSES)
def test_each_keeps_its_own_name(name):
    told = describe(parse({"model_type": name, "pad_token_id": 2}))
    assert (told["model_type"], told["architectures"], told["pad_token_id"]) == (name, [CLASSES[name]], 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bert"}, "model_type must be one of"),
        ({"position_embedding_type": "relative_key_query"}, "position_embedding_type must be 'absolute'"),
        ({"is_decoder": True}, "is_decoder must be False"),
        ({"add_cross_attention": True}, "add_cross_attention must be False"),
        ({"pad_token_id": None}, "pad_token_id must be 0 or more, got None"),
        ({"pad_token_id": 511}, "pad_token_id must leave some of 512 positions, got 511"),
        ({"adapters": {}}, r"unknown keys \['adapters'\]"),
        ({"hidden_act": "mish"}, "hidden_act 'mish' is unknown"),
    ],
)
@pytest.mark.usefixtures("as_users_call")
def test_configs_of_other_models_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        parse({"model_type": "roberta", **change})
