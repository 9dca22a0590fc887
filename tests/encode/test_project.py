"""What stands after pooling, by hand: projections, norms, and where their params stand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import encode
from jaxemb.encode import project
from jaxemb.types import Backbone, Tokens

TABLE = jnp.array([[1.0, 3.0], [-2.0, 0.0]])
TOKENS = Tokens(jnp.array([[0], [1]]), jnp.array([[1], [1]]))


def words():
    """An encoder whose vectors are the rows of `TABLE`."""
    return encode.static(encode.StaticConfig(vocab_size=2, hidden_size=2))


def given(config, learnt, inner=None):
    encoder = encode.followed(inner or words(), config, name="last")
    return encoder.apply({**encode.from_table(TABLE), "last": learnt}, TOKENS)


KERNEL = jnp.array([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]])


def test_dense_by_hand():
    config = encode.DenseConfig(in_features=2, out_features=3, activation="ReLU")
    got = given(config, {"linear": {"kernel": KERNEL, "bias": jnp.array([0.5, 0.0, 0.25])}})
    np.testing.assert_allclose(got, [[1.5, 3.0, 0.0], [0.0, 0.0, 0.0]])


def test_a_residual_goes_through_a_matrix_of_its_own_where_sizes_differ():
    config = encode.DenseConfig(in_features=2, out_features=3, bias=False, activation="Identity", residual=True)
    got = given(config, {"linear": {"kernel": KERNEL}, "residual": {"kernel": jnp.ones((2, 3))}})
    np.testing.assert_allclose(got, [[1 + 4, 3 + 4, -1 + 4], [-2 - 2, 0 - 2, -4 - 2]])
    same = encode.DenseConfig(in_features=2, out_features=2, bias=False, activation="Tanh", residual=True)
    np.testing.assert_allclose(given(same, {"linear": {"kernel": jnp.eye(2)}}), np.tanh(TABLE) + TABLE, rtol=1e-6)


def test_layer_norm_by_hand():
    got = given(
        encode.LayerNormConfig(dimension=2), {"norm": {"scale": jnp.array([2.0, 1.0]), "bias": jnp.array([0.0, 5.0])}}
    )
    np.testing.assert_allclose(got, [[-2.0, 6.0], [-2.0, 6.0]], atol=2e-5)


@pytest.mark.parametrize("name", project.ACTIVATIONS)
def test_activations_are_finite_with_finite_slopes(name):
    act = project.ACTIVATIONS[name]
    at = jnp.array([-30.0, -1.0, 0.0, 1.0, 30.0])
    assert jnp.isfinite(act(at)).all()
    assert jnp.isfinite(jax.vmap(jax.grad(act))(at)).all()


def test_modules_follow_one_another_and_their_params_stand_beside_those_before():
    encoder = words()
    steps = (
        encode.DenseConfig(in_features=2, out_features=5),
        encode.NormalizeConfig(),
        encode.DenseConfig(in_features=5, out_features=3, bias=False, activation="Identity"),
    )
    for i, step in enumerate(steps):
        encoder = encode.followed(encoder, step, name=f"module_{i}")
    params = encoder.init(jax.random.key(0))
    assert params.keys() == {"table", "weight", "module_0", "module_2"}
    hidden = jnp.tanh(params["table"] @ params["module_0"]["linear"]["kernel"])
    unit = hidden / jnp.linalg.norm(hidden, axis=1, keepdims=True)
    wanted = unit @ params["module_2"]["linear"]["kernel"]
    np.testing.assert_allclose(encoder.apply(params, TOKENS), wanted, atol=1e-5)


def test_every_layer_of_a_backbone_goes_through():
    states = jnp.arange(24.0).reshape(2, 3, 2, 2)
    backbone = Backbone(lambda key: {}, lambda params, tokens: states[-1], lambda params, tokens: states)
    config = encode.DenseConfig(in_features=2, out_features=1, bias=False, activation="Identity")
    after = encode.followed(backbone, config)
    params = {"module": {"linear": {"kernel": jnp.array([[1.0], [10.0]])}}}
    wanted = states[..., :1] + 10 * states[..., 1:]
    np.testing.assert_array_equal(after.hidden(params, TOKENS), wanted)
    np.testing.assert_array_equal(after.apply(params, TOKENS), wanted[-1])


def test_a_name_is_taken_once_and_an_activation_is_known():
    config = encode.LayerNormConfig(dimension=2)
    with pytest.raises(ValueError, match="params named 'module' already"):
        encode.followed(encode.followed(words(), config), config).init(jax.random.key(0))
    with pytest.raises(ValueError, match="activation 'Owl' is unknown; there is Identity, Tanh"):
        encode.DenseConfig(in_features=2, out_features=2, activation="Owl")
