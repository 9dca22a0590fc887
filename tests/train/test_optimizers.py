"""Which leaves move, how far, and their average."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from killable import batch, run, source

from jaxemb import checkpoint, data, train

PARAMS = {
    "embeddings": {"tokens": {"table": jnp.ones((4, 2))}, "norm": {"scale": jnp.ones(2)}},
    "blocks": {"up": {"kernel": jnp.ones((3, 2, 2)), "bias": jnp.ones((3, 2))}},
    "head": {"kernel": jnp.ones((2, 2)), "temperature": jnp.ones(())},
}

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def test_biases_norms_and_numbers_do_not_decay():
    assert checkpoint.leaves(train.decayed(PARAMS)) == {
        "blocks.up.bias": False, "blocks.up.kernel": True, "embeddings.norm.scale": False,
        "embeddings.tokens.table": True, "head.kernel": True, "head.temperature": False,
    }  # fmt: skip


def test_deeper_layers_move_less():
    optimizer = optax.chain(optax.sgd(1.0), train.scale_by_depth(0.5))
    ones = jax.tree.map(jnp.ones_like, PARAMS)
    steps, _ = optimizer.update(ones, optimizer.init(PARAMS), PARAMS)
    assert steps["blocks"]["up"]["kernel"][:, 0, 0].tolist() == [-0.25, -0.5, -1.0]
    assert steps["blocks"]["up"]["bias"][:, 1].tolist() == [-0.25, -0.5, -1.0]
    assert np.unique(steps["embeddings"]["tokens"]["table"]) == [-0.125]
    assert np.unique(steps["head"]["kernel"]) == [-1.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: train.scale_by_depth(0.0), "above 0 and at most 1, got 0.0"),
        (lambda: train.scale_by_depth(0.5, stacked=["layers.*"]).init(PARAMS), r"'layers.\*' fits no leaf"),
        (lambda: train.scale_by_depth(0.5, stacked=["blocks.*", "head.kernel"]).init(PARAMS), "'head.kernel': 2"),
        (lambda: train.averaging(optax.sgd(1.0), 1.0), "below 1, got 1.0"),
        (lambda: train.averaged(PARAMS, optax.adam(1.0).init(PARAMS)), "found 0 averages"),
        (lambda: train.joined({"a": {"b": 1}}, {"a": {"b": 2}}), "both parts have 'b'"),
        (lambda: train.split(PARAMS, ["head"]), "'head' fits no leaf"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_average_by_hand():
    optimizer = train.averaging(optax.sgd(1.0), 0.75)
    params = {"w": jnp.array([0.0, 8.0])}
    state = optimizer.init(params)
    for gradient in ([-4.0, 0.0], [-4.0, 8.0]):
        updates, state = optimizer.update({"w": jnp.array(gradient)}, state, params)
        params = optax.apply_updates(params, updates)
    # 0 -> 4 -> 8 and 8 -> 8 -> 0
    np.testing.assert_allclose(train.averaged(params, (optax.EmptyState(), state))["w"], [0.75 * 1 + 0.25 * 8, 6.0])


def test_a_slow_average_of_half_precision_params_moves():
    optimizer = train.averaging(optax.sgd(1.0), 0.999)
    params = {"w": jnp.ones(2, jnp.bfloat16)}
    with jax.numpy_dtype_promotion("standard"):  # as in a step
        _, state = optimizer.update({"w": -jnp.ones(2, jnp.bfloat16)}, optimizer.init(params), params)
    np.testing.assert_allclose(state.average["w"], [1.001, 1.001], rtol=1e-6)  # bfloat16 has no number so near to 1
    assert train.averaged(params, state)["w"].dtype == jnp.bfloat16


def test_split_and_joined_are_inverse():
    moving, still = train.split({**PARAMS, "empty": {}}, ["embeddings.*", "*.bias"])
    assert sorted(checkpoint.leaves(moving)) == ["blocks.up.kernel", "head.kernel", "head.temperature"]
    assert jax.tree.structure(train.joined(moving, still)) == jax.tree.structure({**PARAMS, "empty": {}})


def two_weights(params, batch):
    return params["a"]["w"] * 3.0 + params["b"]["w"] * 4.0 + jnp.zeros(16), {}


def test_frozen_leaves_stay_and_do_not_count_in_the_norm():
    told = []
    params = {"a": {"w": np.float32(1.0)}, "b": {"w": np.float32(2.0)}}
    stream = data.stream(source(), batch_size=16, seed=3, make=batch)
    got = train.fit(
        two_weights, optax.adamw(0.1), stream, params, steps=2, frozen=["b.*"], watch=told.append, what=None
    )
    assert got["b"]["w"] == 2.0
    assert got["a"]["w"] < 0.9
    assert told[0].metrics["gradient_norm"] == pytest.approx(3.0)  # of both it would be 5
    with pytest.raises(ValueError, match="nothing is left to train"):
        train.fit(two_weights, optax.sgd(0.1), stream, params, steps=2, frozen=["*"], what=None)
    with pytest.raises(ValueError, match=r"'c.\*' fits no leaf"):
        train.fit(two_weights, optax.sgd(0.1), stream, params, steps=2, frozen=["c.*"], what=None)


def test_the_average_is_saved_and_returned(tmp_path):
    """A run in two parts returns the average of the whole, not the params reached last."""
    reached = []

    def result(params, state):
        reached.append(np.asarray(params["table"]))
        return train.averaged(params, state)

    def go(steps, **kwargs):
        optimizer = train.averaging(optax.adamw(0.05), 0.9)
        return run(tmp_path, steps, optimizer=optimizer, result=result, mesh=train.data_mesh(1), **kwargs)

    whole = go(4, checkpoints=None)
    go(3)
    jax.tree.map(np.testing.assert_array_equal, go(4), whole)
    assert np.abs(whole["table"] - reached[0]).max() > 1e-3
