"""Exact search by smaller products: the same rows but for rounding, on one device and on eight."""

import warnings

import jax
import numpy as np
import pytest

from jaxemb import compress
from jaxemb.index import exact


def recall(found, wanted):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.rows, wanted.rows, strict=True)])


def build(vectors, name, products, mesh=None, block=300):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return exact.build(vectors, compressor=compress.by_name(name), products=products, mesh=mesh, block=block)


@pytest.mark.parametrize(
    ("name", "products", "apart"),
    [
        ("float32", "bfloat16", 8e-3),
        ("truncate-12", "bfloat16", 8e-3),
        ("int8", "bfloat16", 4e-3),
        ("int8", "int8", 8e-3),
    ],
)
def test_nearly_the_same_scores_on_one_device_and_on_eight(clustered, name, products, apart, compiled_quickly):
    vectors, query = clustered[0][:1003], clustered[1]
    wanted = build(vectors, name, "float32").search(query, 10)
    one = build(vectors, name, products)
    found = one.search(query, 10)
    assert 0 < np.abs(found.scores - wanted.scores).max() < apart
    assert recall(found, wanted) > 0.95
    eight = build(vectors, name, products, mesh=jax.make_mesh((8,), ("data",)), block=50).search(query, 10)
    np.testing.assert_array_equal(eight.rows, found.rows)
    np.testing.assert_allclose(eight.scores, found.scores, rtol=1e-6, atol=1e-6)
    assert one.settings["products"] == products


def test_whole_numbers_by_hand():
    """Steps 2 and 1/2 with offsets 1 and 0: the query (1, 4) folds to (2, 2), and so to 127 each."""
    state = {"step": jax.numpy.array([2.0, 0.5]), "offset": jax.numpy.array([1.0, 0.0])}
    from jaxemb.index.products import _whole

    scores = _whole(state, jax.numpy.array([[1.0, 4.0]]), jax.numpy.array([[3, -5], [-128, 127]], jax.numpy.int8))
    np.testing.assert_allclose(scores, [[2 * 3 - 2 * 5 + 1, -2 * 128 + 2 * 127 + 1]], rtol=1e-6)


def test_products_are_kept(clustered, tmp_path):
    build(clustered[0][:50], "int8", "bfloat16").save(tmp_path / "index")
    code = compress.int8()
    loaded = exact.load(tmp_path / "index", compressor=code, state=code.fit(jax.numpy.asarray(clustered[0][:50])))
    assert loaded.products == "bfloat16"


def test_what_is_refused(clustered):
    for name, products, message in [
        ("float32", "float16", "wanted products of float32, bfloat16, int8, got 'float16'"),
        ("float32", "int8", "products of int8 take codes of int8, got float32"),
        ("bits", "bfloat16", "products of bfloat16 take codes of float32, truncate or int8, got bits"),
        ("truncate-12+int8", "bfloat16", "got truncate-12.int8"),
    ]:
        with pytest.raises(ValueError, match=message):
            exact.build(clustered[0][:9], compressor=compress.by_name(name), products=products)
    with pytest.warns(UserWarning, match="products of int8 are slow on CPUs"):
        exact.build(clustered[0][:9], compressor=compress.int8(), products="int8")
