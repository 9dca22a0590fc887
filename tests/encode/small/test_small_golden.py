"""Recurrent and convolutional layers against torch's, value and gradient, over texts of unequal length.

`tools/golden_small.py` makes the values.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import checkpoint, encode
from jaxemb.encode.small import recurrent
from jaxemb.types import Entry

GOLDEN = Path(__file__).parents[2] / "golden" / "small"
INPUTS, SIZE = 5, 4


def convolved(ours, theirs):
    """Where torch's Conv1d keeps its weights: (out, in, width) there, (width, in, out) here."""
    return [
        Entry(f"{ours}kernel", (f"{theirs}weight",), transpose=(2, 1, 0)),
        Entry(f"{ours}bias", (f"{theirs}bias",)),
    ]


def two(kind):
    """Two layers, both ways: params of both, and one function of them."""
    layers = [kind(INPUTS, SIZE), kind(2 * SIZE, SIZE)]
    inits = {str(i): layer.init for i, layer in enumerate(layers)}

    def apply(params, states, mask):
        for i, layer in enumerate(layers):
            states = layer.apply(params[str(i)], states, mask)
        return states

    return inits, apply, [entry for i in range(2) for entry in recurrent.keys(str(i), "", layer=i)]


def forward(kind):
    layer = kind(INPUTS, SIZE, bidirectional=False)
    keys = recurrent.keys("0", "", bidirectional=False)
    return {"0": layer.init}, lambda params, *inputs: layer.apply(params["0"], *inputs), keys


def convolution():
    layer = encode.convolution(INPUTS, SIZE, 4)

    def masked(params, states, mask):
        return layer.apply(params, states, mask) * mask[:, :, None].astype(jnp.float32)

    return layer.init, masked, convolved("", "")


def scales():
    pooling = encode.scales(INPUTS, SIZE, (2, 3, 4))
    keys = [entry for i, width in enumerate((2, 3, 4)) for entry in convolved(f"{width}.", f"{i}.")]
    return pooling.init, pooling.apply, keys


CASES = {
    "gru": lambda: two(encode.gru),
    "lstm": lambda: two(encode.lstm),
    "gru_forward": lambda: forward(encode.gru),
    "lstm_forward": lambda: forward(encode.lstm),
    "convolution": convolution,
    "scales": scales,
}


@pytest.mark.parametrize("name", CASES)
def test_torch_computes_the_same(name):
    inits, apply, keys = CASES[name]()
    like = jax.tree.map(lambda init: jax.eval_shape(init, jax.random.key(0)), inits)
    values = np.load(GOLDEN / f"{name}.npz")

    def taken(prefix):
        tensors = {key.removeprefix(prefix): values[key] for key in values.files if key.startswith(prefix)}
        return checkpoint.from_foreign(tensors, keys, like)

    mask = jnp.asarray(values["mask"])

    @jax.jit
    def loss(params, states):
        out = apply(params, states, mask)
        return 0.5 * (out**2).sum(), out

    (_, out), slopes = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(
        taken("weights."), jnp.asarray(values["states"])
    )
    np.testing.assert_allclose(out, values["out"], atol=1e-6)
    wanted = checkpoint.leaves(taken("slope."))
    for path, slope in checkpoint.leaves(slopes[0]).items():
        np.testing.assert_allclose(slope, wanted[path], atol=1e-5, err_msg=path)
    np.testing.assert_allclose(slopes[1], values["slope"], atol=1e-5)
    # The states of padding are random there, not zeros: they must have reached nothing.
    assert (np.asarray(values["states"])[values["mask"] == 0] != 0).all()
