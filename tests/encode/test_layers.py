"""What is our own in the blocks that encoders share."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxemb.encode.layers import matmul


def test_the_gradient_of_a_bfloat16_product_is_that_of_its_rounded_inputs():
    draw = np.random.default_rng(0)
    x, w, back = (draw.normal(size=size).astype(np.float32) for size in ((5, 3), (3, 4), (5, 4)))
    half = jnp.asarray(x, jnp.bfloat16), jnp.asarray(w, jnp.bfloat16)

    def total(x, w):
        return (matmul(x, w) * back).sum()

    of_x, of_w = jax.jit(jax.grad(total, argnums=(0, 1)))(*half)
    assert of_x.dtype == of_w.dtype == jnp.bfloat16
    x, w, back = (np.asarray(jnp.asarray(a, jnp.bfloat16), np.float32) for a in (x, w, back))
    np.testing.assert_allclose(np.asarray(of_x, np.float32), back @ w.T, rtol=0.01, atol=0.01)
    np.testing.assert_allclose(np.asarray(of_w, np.float32), x.T @ back, rtol=0.01, atol=0.01)
    assert matmul(*half).dtype == jnp.float32
