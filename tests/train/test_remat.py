"""Computing again gives the same values and gradients, from less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import encode, train
from jaxemb.types import Encoder, Tokens

BERT = encode.BertConfig(
    vocab_size=50, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64,
    max_position_embeddings=16,
)  # fmt: skip
DEEP = encode.normalized(encode.pooled(encode.bert(BERT), encode.mean))
HALF = encode.pooled(encode.bert(BERT, dtype=jnp.bfloat16), encode.mean)
SHALLOW = encode.static(encode.StaticConfig(vocab_size=50, hidden_size=16))
pytestmark = pytest.mark.usefixtures("compiled_quickly")
TOKENS = Tokens(np.arange(128, dtype=np.int32).reshape(8, 16) % 50, np.tri(8, 16, 8, dtype=np.int32))


def compiled(encoder, params):
    def total(params):
        return (encoder.apply(params, TOKENS) * jnp.arange(16.0)[None, :] ** 2).sum()

    return jax.jit(jax.value_and_grad(total)).lower(params).compile()


def init(encoder):
    draw = np.random.default_rng(0)
    shapes = jax.eval_shape(encoder.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(draw.normal(0.1, 0.2, leaf.shape), leaf.dtype), shapes)


@pytest.mark.parametrize(
    "encoder",
    [
        pytest.param(DEEP, id="scanned layers", marks=pytest.mark.slow),
        pytest.param(Encoder(HALF.init, jax.jit(HALF.apply)), id="layers in a compiled function, in bfloat16"),
        pytest.param(SHALLOW, id="no layers"),
    ],
)
def test_values_and_gradients_are_equal(encoder):
    params = init(encoder)
    plain, again = compiled(encoder, params), compiled(train.remat(encoder), params)
    for one, other in zip(jax.tree.leaves(plain(params)), jax.tree.leaves(again(params)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
        assert other.dtype == jnp.float32  # gradients of params, whatever the products are taken in
    memory = [program.memory_analysis().temp_size_in_bytes for program in (plain, again)]
    # Layers whose products are narrow keep nothing on a CPU as it is.
    assert memory[1] <= (0.7 if encoder is DEEP else 1) * memory[0] or encoder is SHALLOW, memory
    np.testing.assert_allclose(train.remat(encoder).apply(params, TOKENS), encoder.apply(params, TOKENS), atol=1e-6)
