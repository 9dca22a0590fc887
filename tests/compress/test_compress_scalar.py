import faiss
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import compress


def test_by_hand():
    small = compress.int8()
    # Steps of 1 from 0 to 255, and of 0.1 from -10 to 15.5.
    state = small.fit(jnp.array([[0.0, 15.5], [255.0, -10.0], [7.0, 0.0]]))
    np.testing.assert_allclose(state["step"], [1.0, 0.1], rtol=1e-6)
    np.testing.assert_allclose(state["offset"], [128.0, 2.8], rtol=1e-6)
    codes = small.apply(state, jnp.array([[0.0, 15.5], [100.4, 2.84], [300.0, -99.0]]))
    np.testing.assert_array_equal(codes, [[-128, 127], [-28, 0], [127, -128]])
    assert codes.dtype == jnp.int8
    np.testing.assert_allclose(small.decode(state, codes), [[0.0, 15.5], [100.0, 2.8], [255.0, -10.0]], atol=1e-5)
    # 2 x 100 + 10 x 2.8 and so on: steps and offsets are in the score.
    np.testing.assert_allclose(small.asymmetric(state, jnp.array([[2.0, 10.0]]), codes), [[155.0, 228.0, 410.0]], 1e-6)
    np.testing.assert_allclose(small.symmetric(state, codes[1:2], codes), [[43.4, 10007.84, 25472.0]], atol=2e-3)


def test_a_dimension_without_a_range_has_no_step():
    constants = jnp.array([[0.1, 5.0, -3.7, 1e-30]] * 3)
    small = compress.int8()
    state = small.fit(constants)
    np.testing.assert_array_equal(state["step"], 0)
    np.testing.assert_array_equal(small.decode(state, small.apply(state, constants + 1)), constants)
    np.testing.assert_array_equal(jax.jit(small.fit)(constants)["step"], 0)


def test_a_share_outside_makes_finer_steps_and_clips():
    sample = jnp.arange(101.0)[:, None]
    narrow = compress.int8(outside=0.1)
    state = narrow.fit(sample)
    np.testing.assert_allclose(state["step"], [90.0 / 255], rtol=1e-5)  # 5 to 95
    np.testing.assert_allclose(narrow.decode(state, narrow.apply(state, sample[:1])), [[5.0]], rtol=1e-5)
    np.testing.assert_allclose(narrow.decode(state, narrow.apply(state, sample[-1:])), [[95.0]], rtol=1e-5)
    assert narrow.name == "int8-0.1"


@pytest.mark.parametrize("outside", [-0.1, 1.0, float("nan")])
def test_no_such_share(outside):
    with pytest.raises(ValueError, match=r"share outside the range in \[0, 1\), got"):
        compress.int8(outside)


def test_within_a_step_of_faiss(clustered):
    vectors = clustered(2000, 64)
    peer = faiss.ScalarQuantizer(64, faiss.ScalarQuantizer.QT_8bit)
    peer.train(vectors)
    small = compress.int8()
    state = small.fit(jnp.asarray(vectors))
    ours = np.asarray(small.decode(state, small.apply(state, jnp.asarray(vectors))))
    theirs = peer.decode(peer.compute_codes(vectors))
    assert (np.abs(ours - theirs) <= np.asarray(state["step"]) * 1.001).all()
    # Rounding to the nearest level can only be better than theirs, which rounds down to a bin's middle.
    assert np.square(ours - vectors).mean() <= np.square(theirs - vectors).mean() * 1.02


def test_nearest_neighbours_survive(clustered):
    vectors = clustered(3000, 384)
    document, query = vectors[:2800], vectors[2800:]
    small = compress.int8()
    state = small.fit(jnp.asarray(document))
    scores = small.asymmetric(state, jnp.asarray(query), small.apply(state, jnp.asarray(document)))
    exact = np.argsort(-(query @ document.T), axis=1)[:, :10]
    found = np.argsort(-np.asarray(scores), axis=1)[:, :10]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)])
    assert recall >= 0.98
