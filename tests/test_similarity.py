"""Scores by hand, and at the ends of the range of numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import similarity

QUERY = jnp.array([[3.0, 4.0], [0.0, -2.0]])
DOCUMENT = jnp.array([[1.0, 0.0], [5.0, 12.0], [0.0, 0.0]])


def test_dot_and_cosine_by_hand():
    np.testing.assert_allclose(similarity.dot(QUERY, DOCUMENT), [[3, 63, 0], [0, -24, 0]])
    np.testing.assert_allclose(similarity.cosine(QUERY, DOCUMENT), [[0.6, 63 / 65, 0], [0, -12 / 13, 0]], rtol=1e-6)


def test_codes_have_no_direction(as_users_call):
    for codes in (jnp.array([[3, 4]]), np.array([[3, 4]], np.int8)):
        with pytest.raises(ValueError, match=f"unit: wanted vectors of floating-point numbers, got {codes.dtype}"):
            similarity.cosine(codes, codes)


def test_hamming_counts_bits_and_larger_is_closer():
    query = jnp.array([[0b11110000, 0b1]], jnp.uint8)
    document = jnp.array([[0b11110000, 0b1], [0b11110001, 0b0], [0b00001111, 0b11111110]], jnp.uint8)
    np.testing.assert_array_equal(similarity.hamming(query, document), [[0, -2, -16]])


@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1.0, 1e10, 1e30])
def test_a_direction_survives_every_length(scale):
    np.testing.assert_allclose(similarity.unit(QUERY * scale), [[0.6, 0.8], [0.0, -1.0]], rtol=1e-6)


def test_zero_has_no_direction_and_a_finite_gradient():
    assert (similarity.unit(jnp.zeros((2, 3))) == 0).all()
    assert jnp.isfinite(jax.grad(lambda x: similarity.unit(x).sum())(jnp.zeros((2, 3)))).all()


def test_the_gradient_of_a_direction_is_at_right_angles_to_it():
    gradient = jax.grad(lambda x: (similarity.unit(x) * jnp.array([[1.0, 2.0]])).sum())(QUERY[:1])
    np.testing.assert_allclose((gradient * QUERY[:1]).sum(), 0.0, atol=1e-6)
    # d/dx of (x + 2y)/r at (3, 4): (1 - 3 * 11/25) / 5, (2 - 4 * 11/25) / 5
    np.testing.assert_allclose(gradient, [[(1 - 33 / 25) / 5, (2 - 44 / 25) / 5]], rtol=1e-5)


def test_half_precision_is_summed_in_float32():
    ones = jnp.ones((1, 4096), jnp.bfloat16)
    assert similarity.dot(ones, ones).dtype == jnp.float32
    np.testing.assert_array_equal(similarity.dot(ones, ones), [[4096.0]])


TOKENS = jnp.array([[[3.0, 4.0], [0.0, -1.0], [9.0, 9.0]], [[1.0, 0.0], [-1.0, -1.0], [9.0, 9.0]]])
TEXTS = jnp.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [0.0, -1.0]], [[-1.0, -1.0], [9.0, 9.0]]])


@pytest.mark.parametrize("block", [1, 12, similarity.BLOCK])
def test_maxsim_by_hand(block):
    query_mask, document_mask = jnp.array([[1, 1, 0], [1, 0, 0]]), jnp.array([[1, 1], [1, 1], [1, 0]])
    got = similarity.maxsim(TOKENS, TEXTS, query_mask=query_mask, document_mask=document_mask, block=block)
    np.testing.assert_allclose(got, [[4 + 0, 8 + 1, -7 + 1], [1, 0, -1]])


def test_maxsim_of_nothing():
    none = jnp.zeros((3, 2), jnp.int32).at[0, 0].set(1)
    got = similarity.maxsim(TOKENS, TEXTS, query_mask=jnp.array([[1, 1, 0], [0, 0, 0]]), document_mask=none)
    np.testing.assert_allclose(got, [[3, similarity.NOTHING, similarity.NOTHING], [0] + [similarity.NOTHING] * 2])
    assert similarity.maxsim(TOKENS, TEXTS[:0]).shape == (2, 0)


def test_maxsim_in_blocks_has_the_gradient_of_the_whole():
    draw = np.random.default_rng(0)
    query, document = (jnp.asarray(draw.normal(size=shape), jnp.float32) for shape in ((2, 3, 4), (5, 3, 4)))
    kept = jnp.asarray(draw.integers(0, 2, (5, 3)).clip([1, 0, 0]))

    def whole(query, document):
        products = jnp.einsum("btd,nsd->btns", query, document)
        return jnp.sin(jnp.where(kept[None, None] > 0, products, -jnp.inf).max(axis=3).sum(axis=1)).sum()

    def blocked(query, document):
        return jnp.sin(similarity.maxsim(query, document, document_mask=kept, block=2 * 3 * 3 * 2)).sum()

    got, wanted = (jax.grad(total, (0, 1))(query, document) for total in (blocked, whole))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), got, wanted)


@pytest.mark.parametrize("kind", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
def test_maxsim_of_texts_on_many_devices(kind):
    draw = np.random.default_rng(0)
    query, document = (jnp.asarray(draw.normal(size=shape), jnp.float32) for shape in ((8, 3, 4), (12, 2, 4)))
    mesh = jax.make_mesh((4,), ("data",), axis_types=(kind,), devices=jax.devices()[:4])
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    with jax.set_mesh(mesh):
        shared = [jax.device_put(part, rows) for part in (query, document)]
        got = jax.jit(lambda q, d: similarity.maxsim(q, d, block=8 * 3 * 2 * 5))(*shared)
    np.testing.assert_allclose(got, similarity.maxsim(query, document), atol=1e-6)
