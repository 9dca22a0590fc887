"""A teacher's scores, vectors and likenesses, by hand."""

from math import exp, log, log1p

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import losses

pytestmark = pytest.mark.usefixtures("compiled_quickly")

OURS = jnp.array([[1.0, 0.5, -0.5], [0.0, 2.0, 0.0]])
THEIRS = jnp.array([[0.0, 2.0, 1.0], [3.0, -jnp.inf, 3.5]])


def softmax(*scores):
    return np.exp(scores) / np.exp(scores).sum()


def test_kullback_leibler_and_list_net():
    p, q = softmax(0.0, 2.0, 1.0), softmax(1.0, 0.5, -0.5)
    p2, q2 = softmax(3.0, 3.5), softmax(0.0, 2.0, 0.0)[[0, 2]]
    crossed = [-(p * np.log(q)).sum(), -(p2 * np.log(q2)).sum()]
    entropy = [-(p * np.log(p)).sum(), -(p2 * np.log(p2)).sum()]
    np.testing.assert_allclose(losses.list_net(OURS, THEIRS), crossed, rtol=1e-5)
    np.testing.assert_allclose(losses.kullback_leibler(OURS, THEIRS), np.subtract(crossed, entropy), rtol=1e-5)


def test_list_mle():
    first = log(exp(1.0) + exp(0.5) + exp(-0.5)) - 0.5 + log(exp(1.0) + exp(-0.5)) + 0.5
    np.testing.assert_allclose(losses.list_mle(OURS, THEIRS), [first, log(2)], rtol=1e-5)


def test_rank_order():
    pairs = exp(1.0 - 0.5) + exp(1.0 + 0.5) + exp(-0.5 - 0.5)
    np.testing.assert_allclose(losses.rank_order(OURS, THEIRS), [log1p(pairs), log(2)], rtol=1e-5)


@pytest.mark.parametrize("divergence", [losses.kullback_leibler, losses.list_net, losses.list_mle, losses.rank_order])
def test_a_list_of_which_the_teacher_has_nothing_counts_for_nothing_under_jit(divergence):
    nothing = jnp.full((2, 3), -jnp.inf)
    value, slope = jax.jit(jax.value_and_grad(lambda ours, theirs: divergence(ours, theirs).sum()))(OURS, nothing)
    np.testing.assert_allclose(value, 0.0)
    np.testing.assert_allclose(slope, jnp.zeros((2, 3)))


def test_list_distillation_reads_each_query_s_own_list():
    query, document = jnp.eye(2), jnp.array([[3.0, 4.0], [0.0, 1.0], [0.0, 2.0], [4.0, 3.0]])
    teacher = jnp.array([[1.0, 3.0], [2.0, 2.0]])  # student's cosines: 0.6 and 0; 1 and 0.6
    got = losses.list_distillation(query, document, teacher=teacher, temperature=0.5, teacher_temperature=2.0)
    wanted = [
        (p * np.log(p / q)).sum()
        for p, q in [(softmax(0.5, 1.5), softmax(1.2, 0.0)), (softmax(1.0, 1.0), softmax(2.0, 1.2))]
    ]
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    order = losses.list_distillation(query, document, teacher=teacher, temperature=0.5, divergence=losses.rank_order)
    np.testing.assert_allclose(order, [log(1 + exp(1.2)), 0.0], rtol=1e-5)


def test_score_distillation_takes_any_divergence():
    query, document = jnp.eye(2), jnp.array([[3.0, 4.0], [0.0, 1.0]])  # cosines 0.6 and 0; 0.8 and 1
    teacher = jnp.array([[1.0, 3.0], [2.0, 4.0]])
    got = losses.score_distillation(query, document, teacher=teacher, temperature=0.5, divergence=losses.rank_order)
    np.testing.assert_allclose(got, [log(1 + exp(1.2)), log(1 + exp(-0.4))], rtol=1e-5)


def test_no_gradient_goes_to_the_teacher_not_even_by_a_learnt_temperature():
    both = jnp.eye(2), jnp.array([[3.0, 4.0], [0.0, 1.0]])

    def loss(teacher, temperature, softness):
        return losses.score_distillation(
            *both, teacher=teacher, temperature=temperature, teacher_temperature=softness
        ).sum()

    teacher, slope = jnp.array([[1.0, 3.0], [2.0, 4.0]]), jax.grad(loss, argnums=(0, 2))
    for one in slope(teacher, 0.5, jnp.asarray(2.0)):
        assert (one == 0).all()


def test_embedding_distillation_by_other_distances():
    student, teacher = jnp.array([[1.0, 5.0], [0.0, 0.0]]), jnp.array([[4.0, 1.0], [3.0, 4.0]])
    squared = losses.embedding_distillation(student, teacher, distance=losses.mean_squared_distance)
    np.testing.assert_allclose(squared, [12.5, 12.5], rtol=1e-6)
    euclid = losses.embedding_distillation(student, teacher, distance=losses.euclidean_distance)
    np.testing.assert_allclose(euclid, [5.0, 5.0], rtol=1e-6)


def test_projected_takes_the_student_to_the_teacher_s_size():
    matrix, bias = jnp.array([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]), jnp.array([0.0, 0.0, -1.0])
    loss = losses.projected(losses.embedding_distillation, matrix, bias)
    got = loss(jnp.array([[1.0, 2.0]]), jnp.array([[2.0, 2.0, 1.0]]))  # the student is at 1, 2, 1
    np.testing.assert_allclose(got, [1 - 7 / (3 * 6**0.5)], rtol=1e-5)


def test_similarity_distillation_of_other_sizes():
    student = jnp.array([[1.0, 0.0], [3.0, 4.0], [0.0, 1.0]])  # cosines 0.6, 0, 0.8
    teacher = jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 3.0, 4.0]])  # cosines 0, 0, 0.6
    got = losses.similarity_distillation(student, teacher)
    np.testing.assert_allclose(got, [0.36 / 3, (0.36 + 0.04) / 3, 0.04 / 3], rtol=1e-5)
    part = losses.similarity_distillation(student[:2], teacher, queries=student)
    np.testing.assert_allclose(part, got[:2], rtol=1e-6)


TWO, THREE = jnp.ones((2, 2)), jnp.ones((2, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.list_distillation(TWO[:1], TWO, teacher=THREE), r"must be \(1, 2\), got \(2, 3\)"),
        (lambda: losses.list_distillation(TWO, TWO, teacher=TWO), "need 4 documents, got 2"),
        (lambda: losses.list_distillation(TWO[:1], TWO, teacher=TWO[:1], temperature=0.0), "temperature must be above"),
        (
            lambda: losses.score_distillation(TWO, TWO, teacher=jnp.array([[1.0, jnp.nan], [0.0, 0.0]])),
            "teacher must be finite, or minus infinity for some but not all of a row, got nan",
        ),
        (
            lambda: losses.score_distillation(TWO, TWO, teacher=jnp.array([[1.0, 0.0], [-jnp.inf, -jnp.inf]])),
            "some but not all of a row, got -inf",
        ),
        (lambda: losses.projected(losses.embedding_distillation, THREE)(THREE, THREE), "3 dimensions need as many"),
        (
            lambda: losses.similarity_distillation(TWO, THREE[:1]),
            "2 student vectors need as many of the teacher, got 1",
        ),
    ],
)
def test_bad_input_is_refused_with_wanted_and_got(call, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        call()
