"""What leaves lower layers is what a shallower model gives, and a prefix is a prefix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import encode
from jaxemb.encode import Exit
from jaxemb.types import Encoder, Tokens

pytestmark = pytest.mark.usefixtures("compiled_quickly")

POST = encode.bert(
    encode.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=8,
    )
)  # fmt: skip
PRE = encode.llama(
    encode.LlamaConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=8, max_position_embeddings=8,
    )
)  # fmt: skip
TOKENS = Tokens(np.array([[3, 5, 7], [11, 13, 0]], np.int32), np.array([[1, 1, 1], [1, 1, 0]], np.int32))


def params_of(backbone):
    draw = np.random.default_rng(0)
    shapes = jax.eval_shape(backbone.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(draw.normal(0.3, 0.5, leaf.shape), leaf.dtype), shapes)


@pytest.fixture(scope="module", params=[POST, PRE], ids=["post-norm", "pre-norm"])
def model(request):
    return request.param, params_of(request.param)


def test_every_exit_is_the_shallower_model(model):
    backbone, params = model
    every = encode.exits(backbone, encode.mean)(params, TOKENS)
    alone = encode.pooled(backbone, encode.mean)
    assert every.shape == (3, 2, 8)
    for layer in (1, 3):
        shallow = encode.first_layers(params, layer)
        assert encode.depth(shallow) == layer
        np.testing.assert_allclose(every[layer - 1], alone.apply(shallow, TOKENS), rtol=1e-5, atol=1e-6)


def test_some_layers_in_any_order():
    params = params_of(POST)
    every, some = (encode.exits(POST, encode.mean, layers)(params, TOKENS) for layers in (None, [3, 1]))
    np.testing.assert_allclose(some, every[np.array([2, 0])], rtol=1e-6)


def test_all_layers_and_dimensions_are_the_plain_encoder():
    params = params_of(POST)
    plain = encode.normalized(encode.pooled(POST, encode.mean))
    whole = encode.sized(encode.pooled(POST, encode.mean), 8)
    np.testing.assert_array_equal(whole.apply(encode.first_layers(params, 3), TOKENS), plain.apply(params, TOKENS))


def test_a_stored_vector_cut_is_the_shorter_encoder():
    params = encode.first_layers(params_of(POST), 2)
    encoder = encode.pooled(POST, encode.mean)
    stored = encode.sized(encoder, 8).apply(params, TOKENS)
    cut = encode.shortened(stored, Exit(2, 8, "2dmse"), Exit(2, 3, "2dmse"))
    np.testing.assert_allclose(cut, encode.sized(encoder, 3).apply(params, TOKENS), rtol=1e-5)


@pytest.mark.parametrize("layers", [1, 3])
def test_exactly_so_many_blocks_are_run(layers):
    shallow = encode.first_layers(params_of(POST), layers)
    scans = [one for one in jax.make_jaxpr(POST.apply)(shallow, TOKENS).jaxpr.eqns if one.primitive.name == "scan"]
    assert [one.params["length"] for one in scans] == [layers]


def test_a_lower_exit_moves_no_block_above_it():
    params = params_of(POST)

    def of_first(params):
        return encode.exits(POST, encode.mean)(params, TOKENS)[0].sum()

    gradient = jax.jit(jax.grad(of_first))(params)["blocks"]
    assert all((np.asarray(leaf)[1:] == 0).all() for leaf in jax.tree.leaves(gradient))
    assert any((np.asarray(leaf)[0] != 0).any() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: encode.first_layers(params_of(POST), 4), "wanted 1 to 3 layers, got 4"),
        (lambda: encode.first_layers(params_of(POST), 0), "wanted 1 to 3 layers, got 0"),
        (lambda: encode.depth({"table": jnp.ones(2)}), r"a stack of blocks, got \['table'\]"),
        (lambda: encode.exits(POST, encode.mean, [4])(params_of(POST), TOKENS), r"layers from 1 to 3, got \[4\]"),
        (lambda: encode.sized(Encoder(POST.init, POST.apply), 0), "wanted 1 dimension or more, got 0"),
        (lambda: encode.prefix(jnp.ones((1, 4)), 5), "wanted 1 to 4 dimensions, got 5"),
        (lambda: encode.shortened(jnp.ones((1, 4)), Exit(2, 4), Exit(3, 4)), "left layer 2 of mode ''"),
        (lambda: encode.shortened(jnp.ones((1, 4)), Exit(2, 4, "st2d"), Exit(2, 4, "2dmse")), "mode 'st2d'"),
        (lambda: encode.shortened(jnp.ones((1, 4)), Exit(2, 4), Exit(2, 8)), "at 4 dimensions; they serve"),
        (lambda: encode.shortened(jnp.ones((1, 4)), Exit(2, 8), Exit(2, 4)), "said to be of 8 dimensions have 4"),
    ],
)
def test_bad_input_is_refused_with_wanted_and_got(call, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        call()
