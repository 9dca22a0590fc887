"""What the tests of text families share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.fixture
def drawn():
    """Random params of a backbone, biases and norms too, without compiling its own `init`."""

    def draw(backbone, seed=0):
        numbers = np.random.default_rng(seed)
        shapes = jax.eval_shape(backbone.init, jax.random.key(0))
        return jax.tree.map(lambda leaf: jnp.asarray(numbers.normal(size=leaf.shape), leaf.dtype), shapes)

    return draw
