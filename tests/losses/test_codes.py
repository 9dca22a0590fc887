"""Signs, by hand: their gradient, what they cost, how they lie."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import losses

pytestmark = pytest.mark.usefixtures("compiled_quickly")

ROWS = jnp.array([[0.2, -0.5, 0.1], [0.4, 0.3, -0.1], [-0.3, -0.2, -0.6], [0.1, -0.9, 0.7]])
# signs + - +, + + -, - - -, + - +: means 1/2, -1/2, 0; products 0, 1/2, -1/2 between 01, 02, 12


def test_the_gradient_goes_straight_through_up_to_one():
    values = jnp.array([[-2.0, -1.0, -0.0, 0.5, 1.0, 1.5]])
    coded, back = jax.vjp(losses.straight_through_sign, values)
    np.testing.assert_array_equal(coded, [[-1, -1, 1, 1, 1, 1]])
    np.testing.assert_array_equal(back(jnp.full((1, 6), 3.0))[0], [[0, 3, 3, 3, 3, 0]])
    assert losses.straight_through_sign(values.astype(jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize("sides", ["both", "query", "document"])
def test_binarize_makes_codes_of_the_sides_it_is_told(sides):
    query, document = ROWS[:2], ROWS[1:]
    coded_query = jnp.sign(query) if sides != "document" else query
    coded_document = jnp.sign(document) if sides != "query" else document
    got = losses.binarize(losses.info_nce, sides)(query, document)
    np.testing.assert_allclose(got, losses.info_nce(coded_query, coded_document), rtol=1e-6)


def test_binarize_and_matryoshka_come_in_any_order():
    one = losses.binarize(losses.matryoshka(losses.info_nce, (1, 3)))
    other = losses.matryoshka(losses.binarize(losses.info_nce), (1, 3))
    got, wanted = (jax.jit(jax.value_and_grad(lambda q, f=f: f(q, ROWS).mean()))(ROWS) for f in (one, other))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), got, wanted)


@pytest.mark.parametrize("among", [losses.tiled, losses.symmetric])
def test_a_gradient_is_that_of_the_numbers_given_whatever_is_around(among):
    """One number is beyond one: it gets no gradient, though a vector of length one would be within."""
    large = ROWS.at[0, 0].set(3.0)
    kwargs = {"rows": 2} if among is losses.tiled else {}
    loss = among(losses.binarize(partial(losses.info_nce, temperature=1.0)), **kwargs)
    slope = jax.jit(jax.grad(lambda q: loss(q, ROWS).sum()))(large)
    assert slope[0, 0] == 0
    assert (slope[0, 1:] != 0).all()


def test_codes_are_compared_with_codes():
    loss = losses.symmetric(losses.binarize(lambda q, d, **kw: losses.hard_info_nce(q, d, hardest=1, **kw)))
    both = jnp.array([[0.5, 0.5], [-0.5, 0.5]])
    np.testing.assert_allclose(loss(both, both), [np.log1p(np.exp(-1 / 0.05))] * 2, atol=1e-8)


def test_backward_compatible_cuts_the_new_and_leaves_the_old_alone():
    new, old = ROWS, ROWS[:, 1:]
    loss = losses.backward_compatible(losses.info_nce)
    np.testing.assert_allclose(loss(new, old), losses.info_nce(new[:, :2], old), rtol=1e-6)
    slopes = jax.jit(jax.grad(lambda n, o: loss(n, o).sum(), argnums=(0, 1)))(new, old)
    assert (slopes[0][:, :2] != 0).any()
    assert (slopes[0][:, 2] == 0).all()
    assert (slopes[1] == 0).all()


def test_quantization_penalty():
    got = losses.quantization_penalty(jnp.array([[3.0, 4.0]]), jnp.array([[0.0, -2.0]]))
    np.testing.assert_allclose(got, [(1 - 7 / (5 * 2**0.5) + 1 - 2 / (2 * 2**0.5)) / 2], rtol=1e-5)


def test_bit_balance():
    np.testing.assert_allclose(losses.bit_balance(ROWS, ROWS), [(1 / 4 + 1 / 4 + 0) / 3] * 4, rtol=1e-6)


def test_bit_decorrelation():
    got = losses.bit_decorrelation(ROWS, ROWS)
    signs = np.sign(np.asarray(ROWS))
    products = signs.T @ signs / 4
    wanted = (products[0, 1] ** 2 + products[0, 2] ** 2 + products[1, 2] ** 2) / 3
    np.testing.assert_allclose(got, [wanted] * 4, rtol=1e-6)
    np.testing.assert_allclose(wanted, 1 / 6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.binarize(losses.info_nce, "left"), "sides are both, query or document, got 'left'"),
        (lambda: losses.bit_balance(ROWS[:1], ROWS[:1]), "wanted 2 or more, got 1"),
        (lambda: losses.bit_decorrelation(ROWS[:1], ROWS[:1]), "wanted 2 or more, got 1"),
        (lambda: losses.bit_decorrelation(ROWS[:, :1], ROWS[:, :1]), "bits are compared with each other"),
        (
            lambda: losses.backward_compatible(losses.info_nce)(ROWS[:, :2], ROWS),
            "old vectors of 3 dimensions are longer than new ones of 2",
        ),
    ],
)
def test_bad_input_is_refused_with_wanted_and_got(call, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        call()
