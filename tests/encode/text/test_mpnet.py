"""What is MPNet's own: kinds of distance, one table of them for all layers, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import encode
from jaxemb.encode.text.mpnet import BUCKETS, MPNET, buckets, parse
from jaxemb.types import Tokens

TINY = encode.MPNetConfig(
    vocab_size=9, hidden_size=4, num_hidden_layers=2, num_attention_heads=2, intermediate_size=6,
    max_position_embeddings=12,
)  # fmt: skip


def test_where_kinds_of_distance_begin_and_end():
    behind = buckets(200)[:, 0]  # row i: the first token seen from i places after it
    np.testing.assert_array_equal(behind[:9], range(9))
    starts = {8: 8, 9: 12, 10: 16, 11: 23, 12: 32, 13: 46, 14: 64, 15: 91}
    for kind, place in starts.items():
        assert behind[place] == kind
        assert behind[place - 1] == kind - 1
    assert behind.max() == behind[199] == BUCKETS // 2 - 1
    ahead = buckets(200)[0]
    np.testing.assert_array_equal(ahead[1:], behind[1:] + 16)


def test_a_token_reads_the_number_of_its_distance(drawn):
    # Queries and keys of zero leave the distances alone: each token's weights are the softmax of its own row.
    backbone = encode.mpnet(TINY)
    params = drawn(backbone)
    params["blocks"]["qkv"] = {name: leaf.at[..., :8].set(0) for name, leaf in params["blocks"]["qkv"].items()}
    far = params | {"relative": {"table": jnp.zeros((BUCKETS, 2)).at[17].set(1000.0)}}  # only the next token counts
    tokens = Tokens(jnp.array([[3, 4, 5]]), jnp.ones((1, 3), jnp.int32))
    other = tokens._replace(ids=jnp.array([[3, 4, 6]]))
    first, second = (jax.jit(backbone.hidden)(far, some)[1:, 0] for some in (tokens, other))
    np.testing.assert_array_equal(first[0, 0], second[0, 0])  # one layer: token 0 sees token 1 alone
    assert not np.allclose(first[0, 1], second[0, 1])
    assert not np.allclose(first[1, 0], second[1, 0])  # the second layer reads the same table, and so reaches token 2


def test_the_longest_text():
    assert MPNET.longest(TINY) == 10
    backbone = encode.mpnet(TINY)
    params = jax.eval_shape(backbone.init, jax.random.key(0))
    long = Tokens(jnp.zeros((1, 11), jnp.int32), jnp.ones((1, 11), jnp.int32))
    with pytest.raises(ValueError, match="11 tokens a text, but only 10 positions"):
        jax.eval_shape(backbone.apply, params, long)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"relative_attention_num_buckets": 64}, "relative_attention_num_buckets must be 32, got 64"),
        ({"pad_token_id": 0}, "pad_token_id must be 1, got 0"),
        ({"type_vocab_size": 2}, r"unknown keys \['type_vocab_size'\]"),
        ({"hidden_act": "mish"}, "hidden_act 'mish' is unknown"),
        ({"num_attention_heads": 5}, "hidden_size 768 is no multiple of 5 heads"),
    ],
)
def test_configs_of_other_models_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        parse({"model_type": "mpnet", **change})
