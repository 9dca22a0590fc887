import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import encode
from jaxemb.encode import Sparse

ROWS = jnp.array([[0.5, 2.0, -1.0, 1.0], [3.0, 0.0, 0.25, 4.0]])


def test_the_largest_entries_and_their_dot_product_by_hand():
    kept = encode.largest(ROWS, 2)
    np.testing.assert_array_equal(kept.values, [[2, 1], [4, 3]])
    np.testing.assert_array_equal(kept.ids, [[1, 3], [3, 0]])
    query = jnp.array([[1.0, 10.0, 100.0, 1000.0]])
    np.testing.assert_allclose(encode.sparse_dot(query, kept), [[1020.0, 4003.0]])


def test_all_entries_give_the_whole_dot_product():
    np.testing.assert_allclose(encode.sparse_dot(ROWS, encode.largest(ROWS, 4)), ROWS @ ROWS.T, rtol=1e-6)


def test_hashed_rows_keep_sums_and_are_alike_in_one_bucket_only_where_columns_are():
    kept = encode.largest(ROWS, 4)
    np.testing.assert_allclose(encode.hashed(kept, 1)[:, 0], ROWS.sum(axis=1))
    many = encode.hashed(kept, 4096)
    np.testing.assert_allclose(many @ many.T, ROWS @ ROWS.T, rtol=1e-6)  # four columns find four buckets
    assert many.shape == (2, 4096)
    twice = encode.hashed(Sparse(jnp.array([[1.0, 2.0]]), jnp.array([[3, 3]])), 8)
    assert sorted(np.asarray(twice[0]).tolist())[-2:] == [0.0, 3.0]


@pytest.mark.parametrize("k", [0, 5])
def test_k_beyond_the_vocabulary_is_refused(k):
    with pytest.raises(ValueError, match="k from 1 to 4"):
        encode.largest(ROWS, k)
    with pytest.raises(ValueError, match="one bucket or more, got 0"):
        encode.hashed(encode.largest(ROWS, 1), 0)
