import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import compress


def test_by_hand():
    sign = compress.bits()
    sample = jnp.array([[3.0, 4.0, 0.0], [0.0, -5.0, 0.0], [-4.0, 3.0, 0.0], [0.0, 0.0, 9.0], [-8.0, 0.0, -6.0]])
    state = sign.fit(sample)
    np.testing.assert_array_equal(state["threshold"], [0.0, 0.0, 0.0])  # medians
    np.testing.assert_allclose(state["length"], 34 / 5, rtol=1e-6)  # of 5, 5, 5, 9 and 10
    np.testing.assert_allclose(6.8 * state["low"], [-12 / 4, -5 / 3, -6 / 4], rtol=1e-6)
    np.testing.assert_allclose(6.8 * state["high"], [3.0, 3.5, 9.0], rtol=1e-6)
    codes = sign.apply(state, jnp.array([[3.0, 0.0, 1.0], [0.0, 21.0, -1.0]]))
    np.testing.assert_array_equal(codes, [[0b10100000], [0b01000000]])  # at the threshold is 0; five bits of padding
    decoded = np.array([[3.0, -5 / 3, 9.0], [-3.0, 3.5, -1.5]])
    decoded *= 6.8 / np.linalg.norm(decoded, axis=1, keepdims=True)
    np.testing.assert_allclose(sign.decode(state, codes), decoded, rtol=1e-6)
    query = np.array([[1.0, 0.1, 7.0], [-2.0, 0.0, 1.0]], np.float32)
    np.testing.assert_allclose(sign.asymmetric(state, jnp.asarray(query), codes), query @ decoded.T, rtol=1e-6)
    np.testing.assert_array_equal(sign.symmetric(state, codes, codes), [[0.0, -3.0], [-3.0, 0.0]])


def test_bits_are_those_of_numpy():
    vectors = np.random.default_rng(0).normal(size=(50, 21)).astype(np.float32)
    sign = compress.bits()
    state = sign.fit(jnp.asarray(vectors))
    expected = np.packbits(vectors > np.median(vectors, axis=0), axis=-1)
    np.testing.assert_array_equal(sign.apply(state, jnp.asarray(vectors)), expected)
    zero = compress.bits(threshold=0.0)
    np.testing.assert_array_equal(
        zero.apply(zero.fit(jnp.asarray(vectors)), jnp.asarray(vectors)), np.packbits(vectors > 0, axis=-1)
    )


def test_the_median_sets_half_of_the_bits_of_a_lopsided_dimension():
    vectors = jnp.asarray(np.random.default_rng(0).normal(loc=[5.0, 0.0], size=(1000, 2)), jnp.float32)
    for threshold, expected in ((None, [0.5, 0.5]), (0.0, [1.0, 0.5])):
        sign = compress.bits(threshold)
        set_bits = np.unpackbits(np.asarray(sign.apply(sign.fit(vectors), vectors)), axis=-1)[:, :2]
        np.testing.assert_allclose(set_bits.mean(axis=0), expected, atol=0.04)


def test_decoded_vectors_have_the_length_and_nearly_the_direction_of_the_sample():
    vectors = np.random.default_rng(0).normal(size=(3000, 200)).astype(np.float32)
    vectors *= 7 / np.linalg.norm(vectors, axis=1, keepdims=True)
    sign = compress.bits()
    state = sign.fit(jnp.asarray(vectors))
    decoded = np.asarray(sign.decode(state, sign.apply(state, jnp.asarray(vectors))))
    np.testing.assert_allclose(np.linalg.norm(decoded, axis=1), 7, rtol=1e-5)
    # For normal values the cosine between a vector and its signs tends to sqrt(2 / pi).
    assert (decoded * vectors).sum(axis=1).mean() / 49 == pytest.approx((2 / np.pi) ** 0.5, abs=0.005)


def test_medians_and_lengths_keep_neighbours_where_vectors_share_a_direction():
    draw = np.random.default_rng(0)
    centres, mean = draw.normal(size=(60, 96)), 3 * draw.normal(size=96)
    rows = centres[draw.integers(0, 60, 1600)] + 0.7 * draw.normal(size=(1600, 96)) + mean
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    document, query = jnp.asarray(rows[:1500]), jnp.asarray(rows[1500:])
    exact = np.argsort(-(rows[1500:] @ rows[:1500].T), axis=1)[:, :10]

    def recall(scores):
        found = np.argsort(-np.asarray(scores), axis=1, kind="stable")[:, :10]
        return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)])

    asymmetric, hamming = {}, {}
    for threshold in (None, 0.0):
        sign = compress.bits(threshold)
        state = sign.fit(document)
        codes = sign.apply(state, document)
        asymmetric[threshold] = recall(sign.asymmetric(state, query, codes))
        hamming[threshold] = recall(sign.symmetric(state, sign.apply(state, query), codes))
    assert asymmetric[None] > asymmetric[0.0] + 0.03
    assert hamming[None] > hamming[0.0] + 0.03
    assert asymmetric[None] > hamming[None]


def test_hamming_makes_bits_of_the_query():
    sign, both = compress.bits(), compress.hamming()
    sample = jnp.asarray(np.random.default_rng(0).normal(loc=1.0, size=(60, 13)), jnp.float32)
    query = jnp.asarray(np.random.default_rng(1).normal(loc=1.0, size=(4, 13)), jnp.float32)
    state = both.fit(sample)
    codes = both.apply(state, sample)
    np.testing.assert_array_equal(codes, sign.apply(sign.fit(sample), sample))
    cut = np.median(sample, axis=0)
    differing = ((np.asarray(query) > cut)[:, None, :] != (np.asarray(sample) > cut)[None, :, :]).sum(axis=-1)
    np.testing.assert_array_equal(both.asymmetric(state, query, codes), -differing)


def test_vectors_of_zeros():
    sign = compress.bits()
    state = sign.fit(jnp.zeros((3, 9)))
    codes = sign.apply(state, jnp.zeros((2, 9)))
    np.testing.assert_array_equal(sign.decode(state, codes), 0)
    np.testing.assert_array_equal(sign.asymmetric(state, jnp.ones((1, 9)), codes), 0)


@pytest.mark.parametrize("threshold", [float("nan"), float("inf")])
def test_threshold_must_be_a_number(threshold):
    with pytest.raises(ValueError, match="finite threshold, got"):
        compress.bits(threshold)
