import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import losses

LEFT, RIGHT = jnp.array([[1.0, 2.0], [0.0, 3.0]]), jnp.array([[2.0, 1.0], [5.0, -1.0]])


def two(left, right):
    """Logits (4, 0) and (-3, 1)."""
    return jnp.stack([jnp.sum(left * right, axis=1), jnp.array([0.0, 1.0])], axis=1)


def one(left, right):
    return two(left, right)[:, :1]


def test_squares_are_summed_over_classes():
    teacher = jnp.array([[1.0, 2.0], [-3.0, 0.5]])
    got = losses.logit_distillation(LEFT, RIGHT, teacher=teacher, classifier=two)
    np.testing.assert_allclose(got, [9 + 4, 0.25])


def test_a_label_is_a_teacher_of_one_class():
    got = losses.logit_regression(LEFT, RIGHT, label=jnp.array([3.5, 0.0]), classifier=one)
    np.testing.assert_allclose(got, [0.25, 9.0])


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        (jnp.zeros((2, 1)), r"logits \(2, 2\) need as many of the teacher, got \(2, 1\)"),
        (jnp.array([[0.0, 1.0], [jnp.nan, 0.0]]), "teacher must be finite, got nan"),
    ],
)
def test_bad_teachers_are_refused(as_users_call, teacher, said):
    with pytest.raises(ValueError, match=said):
        losses.logit_distillation(LEFT, RIGHT, teacher=teacher, classifier=two)


@pytest.mark.parametrize(
    ("label", "classifier", "said"),
    [
        (jnp.zeros(3), one, r"label must be \(2,\)"),
        (jnp.array([0.0, jnp.inf]), one, "label must be finite, got inf"),
        (jnp.zeros(2), two, "need as many of the teacher"),
    ],
)
def test_bad_labels_are_refused(as_users_call, label, classifier, said):
    with pytest.raises(ValueError, match=said):
        losses.logit_regression(LEFT, RIGHT, label=label, classifier=classifier)
