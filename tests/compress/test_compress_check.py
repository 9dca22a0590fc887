import jax
import jax.numpy as jnp
import pytest

from jaxemb.compress import check


@pytest.mark.parametrize(
    ("rows", "got"),
    [
        (jnp.ones(3), r"float32 \[3\]"),
        (jnp.ones((2, 3), jnp.int32), r"int32 \[2, 3\]"),
        (jnp.ones((2, 4)), r"float32 \[2, 4\]"),
    ],
)
def test_shape_and_dtype(rows, got):
    with pytest.raises(ValueError, match=rf"thing: wanted float vectors \[n, 3\], got {got}"):
        check.vectors("thing", rows, 3)


def test_values():
    with pytest.raises(ValueError, match="thing: wanted finite vectors, got NaN or inf in 2 rows, first 1"):
        check.vectors("thing", jnp.array([[1.0], [jnp.nan], [jnp.inf]]))


def test_shapes_are_checked_inside_jit_too():
    with pytest.raises(ValueError, match=r"thing: wanted float vectors \[n, 3\], got float32 \[1, 2\]"):
        jax.jit(lambda rows: check.vectors("thing", rows, 3))(jnp.ones((1, 2)))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_empty_sample(shape):
    with pytest.raises(
        ValueError, match=rf"thing: wanted a sample of 1 vector or more, got \[{shape[0]}, {shape[1]}\]"
    ):
        check.sample("thing", jnp.ones(shape))


def test_codes():
    with pytest.raises(ValueError, match=r"thing: wanted codes int8 \[n, 2\], got uint8 \[1, 2\]"):
        check.codes("thing", jnp.ones((1, 2), jnp.uint8), jnp.int8, 2)


def test_a_constant_inside_jit_is_checked_too():
    bad, rows = jnp.array([[jnp.nan]]), jnp.ones((1, 2))
    with pytest.raises(ValueError, match="thing: wanted finite vectors, got NaN or inf in 1 rows, first 0"):
        jax.jit(lambda: check.vectors("thing", bad))()
    assert jax.jit(lambda: check.vectors("thing", rows, 2))().shape == (1, 2)
