import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import compress
from jaxemb.compress.recurrent import before_signs

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def made_by_hand():
    """Two dimensions to two, of two bits: what is written is what is read, but for the second bit's sign."""
    eye = jnp.eye(2)
    return {
        "write": jnp.stack([eye, eye]),
        "write_bias": jnp.array([[0.0, -0.1], [0.0, 0.0]]),
        "read": eye[None],
        "read_bias": jnp.array([[0.5, 0.0]]),
    }


def test_by_hand():
    params = made_by_hand()
    # f = (0.6, 0.8): a_0 = (1, 1), read as (1.5, 1) / |.| = (0.832, 0.555); what is left is (-0.232, 0.245).
    # f = (-0.8, 0.6): a_0 = (-1, 1), read as (-0.5, 1) / |.| = (-0.447, 0.894); what is left is (-0.353, -0.294).
    got = compress.multilevel(params, jnp.array([[3.0, 4.0], [-8.0, 6.0]]))
    np.testing.assert_allclose(got, [[0.5, 1.5], [-1.5, 0.5]])


def test_levels_are_packed_high_bit_first_with_the_length_behind(clustered):
    code = compress.recurrent(4, 2)
    params = compress.recurrent_start(jnp.asarray(clustered(60, 4)), 4, 2)
    rows = jnp.asarray(clustered(60, 4, seed=3)[:5])
    codes = np.asarray(code.apply(params, rows))
    values = np.asarray(compress.multilevel(params, rows))
    levels = (np.round(values * 2) + 3) // 2
    assert codes.shape == (5, 3)
    np.testing.assert_array_equal(codes[:, 0], (levels * [64, 16, 4, 1]).sum(axis=1))
    np.testing.assert_allclose(
        codes[:, 1:].copy().view(np.float16)[:, 0], 1 / np.linalg.norm(values, axis=1), rtol=1e-3
    )


def test_scores_are_whole_numbers_by_the_lengths(clustered):
    # The same value by bits: sum_ij 2^(2u - i - j) (m - 2 differing), of planes i and j.
    code = compress.recurrent(16, 2)
    state = code.fit(jnp.asarray(clustered(60, 12)))
    rows = jnp.asarray(clustered(60, 12, seed=1)[:7])
    codes = code.apply(state, rows)
    values = np.asarray(compress.multilevel(state, rows))
    bits = ((np.round(values * 2).astype(int) + 3) // 2)[:, :, None] >> np.array([1, 0]) & 1
    signs = 2 * bits - 1
    products = sum(
        2 ** (2 - i - j) * (16 - 2 * (signs[:, None, :, i] != signs[None, :, :, j]).sum(axis=2))
        for i in range(2)
        for j in range(2)
    )
    np.testing.assert_allclose(products / 4, values @ values.T, atol=1e-5)
    lengths = np.linalg.norm(values, axis=1)
    np.testing.assert_allclose(
        code.symmetric(state, codes, codes), products / 4 / lengths[:, None] / lengths[None, :], rtol=2e-3, atol=1e-3
    )


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_the_start_is_a_scalar_quantizer_in_a_rotation(bits, clustered):
    vectors = clustered(400, 24)
    params = compress.recurrent_start(jnp.asarray(vectors), 24, bits)
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    turned = rows @ np.asarray(params["write"][0]) + np.asarray(params["write_bias"][0])
    np.testing.assert_allclose(np.square(turned).mean(axis=0), 1, rtol=1e-3)
    np.testing.assert_allclose(turned.mean(axis=0), 0, atol=1e-3)
    values = np.asarray(compress.multilevel(params, jnp.asarray(vectors)))
    np.testing.assert_array_equal(np.sign(values), np.where(turned < 0, -1, 1))
    along = (values * turned).sum(axis=1) / np.linalg.norm(values, axis=1) / np.linalg.norm(turned, axis=1)
    assert along.mean() > {1: 0.78, 2: 0.9, 4: 0.95}[bits]


@pytest.mark.grid
def test_a_longer_code_reads_the_same_vector(clustered):
    vectors = jnp.asarray(clustered(400, 24))
    params = compress.recurrent_start(vectors, 48, 2)
    read = (compress.multilevel(params, vectors) - 0) @ params["read"][0] + params["read_bias"][0][None, :]
    assert float(jnp.sum(read * vectors, axis=1).mean() / jnp.linalg.norm(read, axis=1).mean()) > 0.95


def test_gradients_reach_every_leaf(clustered):
    vectors = jnp.asarray(clustered(80, 12))
    params = compress.recurrent_start(vectors, 16, 2)
    slopes = jax.grad(lambda p: jnp.sum(compress.multilevel(p, vectors[:9]) * jnp.arange(16.0)[None, :]))(params)
    for name, slope in slopes.items():
        assert jnp.isfinite(slope).all(), name
        assert (slope != 0).any(), name


@pytest.mark.grid
def test_a_query_before_its_signs_ranks_better(clustered):
    vectors = clustered(1100, 32)
    document, query = vectors[:1000], vectors[1000:]
    exact = np.argsort(-(query @ document.T), axis=1)[:, :10]
    recall = {}
    for bits in (1, 2, 4):
        code = compress.recurrent(32, bits)
        state = code.fit(jnp.asarray(document))
        stored = code.apply(state, jnp.asarray(document))
        asked = code.apply(state, jnp.asarray(query))
        for side, scores in (
            ("float", code.asymmetric(state, jnp.asarray(query), stored)),
            ("code", code.symmetric(state, asked, stored)),
        ):
            found = np.argsort(-np.asarray(scores), axis=1)[:, :10]
            recall[bits, side] = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)])
    assert recall[1, "float"] > recall[1, "code"] + 0.05
    assert recall[2, "code"] > recall[1, "code"] + 0.08
    assert recall[4, "code"] > recall[2, "code"] + 0.05


def test_the_encoder_begins_where_the_compressor_does_and_is_unit_before_its_signs(clustered):
    vectors = jnp.asarray(clustered(60, 12))
    encoder = compress.recurrent_encoder(vectors, 16, 2)
    params = encoder.init(jax.random.key(0))
    assert {name: leaf.shape for name, leaf in params.items()} == {
        name: leaf.shape for name, leaf in compress.recurrent(16, 2).fit(vectors).items()
    }
    np.testing.assert_array_equal(encoder.apply(params, vectors), compress.multilevel(params, vectors))
    np.testing.assert_allclose(jnp.linalg.norm(before_signs(params, vectors), axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("bits", [1, 2])
def test_a_compatible_start_finds_old_codes_of_a_space_that_was_turned(bits, clustered):
    vectors = clustered(500, 12)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0].astype(np.float32)
    old = compress.multilevel(
        compress.recurrent_start(jnp.asarray(vectors @ turn), 12, bits), jnp.asarray(vectors @ turn)
    )
    params = compress.compatible_start(jnp.asarray(vectors[:400]), old[:400], 16, bits)
    new = compress.multilevel(params, jnp.asarray(vectors[400:]))[:, :12]
    assert float((jnp.sign(new) == jnp.sign(old[400:])).mean()) > 0.9
    assert float(jnp.square(new - old[400:]).mean()) < 0.35 * float(jnp.square(old[400:]).mean())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: compress.compatible_start(jnp.ones((3, 4)), jnp.ones((3, 9)), 8, 2),
            r"wanted an old code of each of 3 vectors, of 8 dimensions or fewer, got \[3, 9\]",
        ),
        (
            lambda: compress.compatible_start(jnp.ones((3, 4)), jnp.ones((2, 8)), 8, 2),
            r"wanted an old code of each of 3 vectors, of 8 dimensions or fewer, got \[2, 8\]",
        ),
    ],
)
def test_no_such_compatible_start(make, said, as_users_call):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: compress.recurrent(8, 0), "bebr: wanted 1 to 4 bits a dimension, got 0"),
        (lambda: compress.recurrent(7, 2), "bebr: wanted a code that fills bytes, got 7 dimensions of 2 bits"),
        (lambda: compress.recurrent_encoder(jnp.ones((3, 4)), 7, 2), "bebr: wanted a code that fills bytes"),
        (
            lambda: compress.recurrent(8, 2).fit(jnp.array([[1.0, 0.0], [0.0, 0.0]])),
            "bebr-8x2: wanted vectors with a direction, got 1 of zeros",
        ),
    ],
)
def test_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
