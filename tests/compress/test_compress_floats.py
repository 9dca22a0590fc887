import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import compress


def test_identity_by_hand():
    keep = compress.identity()
    vectors = jnp.array([[3.0, 4.0], [0.0, -2.0]])
    state = keep.fit(vectors)
    np.testing.assert_array_equal(keep.apply(state, vectors), vectors)
    np.testing.assert_array_equal(keep.asymmetric(state, jnp.array([[1.0, 2.0]]), vectors), [[11.0, -4.0]])
    np.testing.assert_array_equal(keep.symmetric(state, vectors, vectors), [[25.0, -8.0], [-8.0, 4.0]])


def test_truncate_by_hand():
    cut = compress.truncate(2)
    vectors = jnp.array([[0.3, 0.4, 0.5], [0.0, 0.0, 1.0], [-5.0, 12.0, 7.0]])
    state = cut.fit(vectors)
    codes = cut.apply(state, vectors)
    np.testing.assert_allclose(codes, [[0.6, 0.8], [0.0, 0.0], [-5 / 13, 12 / 13]], rtol=1e-6)
    query = jnp.array([[4.0, 3.0, -9.0]])  # its beginning is (0.8, 0.6)
    np.testing.assert_allclose(cut.asymmetric(state, query, codes), [[0.96, 0.0, 3.2 / 13]], rtol=1e-6)
    np.testing.assert_allclose(cut.symmetric(state, codes[:1], codes), [[1.0, 0.0, 6.6 / 13]], rtol=1e-6)


def test_truncate_to_the_whole_length_only_scales():
    cut = compress.truncate(2)
    state = cut.fit(jnp.ones((1, 2)))
    np.testing.assert_allclose(cut.apply(state, jnp.array([[30.0, 40.0]])), [[0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize("size", [0, -3])
def test_truncate_to_nothing(size):
    with pytest.raises(ValueError, match=f"size of 1 or more, got {size}"):
        compress.truncate(size)


def test_truncate_longer_than_the_vectors():
    with pytest.raises(ValueError, match="truncate-5: wanted vectors of 5 dimensions or more, got 4"):
        compress.truncate(5).fit(jnp.ones((2, 4)))
    with pytest.raises(ValueError, match="truncate-5: wanted vectors of 5 dimensions or more, got 4"):
        compress.truncate(5).bytes_per_vector(4)


def test_half_precision_is_kept_as_float32():
    keep = compress.identity()
    vectors = jnp.array([[0.5, 0.25]], jnp.bfloat16)
    assert keep.apply(keep.fit(vectors), vectors).dtype == jnp.float32
