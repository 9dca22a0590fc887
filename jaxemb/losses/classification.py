"""Losses of classes: what two texts are to each other, told from features of both vectors."""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jaxemb.losses.checks import all_values, one_a_row, paired
from jaxemb.losses.form import declared
from jaxemb.similarity import wide

Classifier = Callable[[Array, Array], Array]
"""From the vectors of both texts, row by row, to logits: `[b, classes]`, or `[b]` for yes or no."""


def difference_features(left: Float[Array, "b d"], right: Float[Array, "b d"]) -> Float[Array, "b f"]:
    """Both vectors and the absolute difference of them, one after the other: `[b, 3 d]`.

    Source: Reimers & Gurevych 2019, arXiv:1908.10084, sec. 3.
    """
    return jnp.concatenate([left, right, jnp.abs(left - right)], axis=-1)


def product_features(left: Float[Array, "b d"], right: Float[Array, "b d"]) -> Float[Array, "b f"]:
    """`difference_features`, and the product of both vectors: `[b, 4 d]`.

    Source: Conneau et al. 2017, arXiv:1705.02364 (InferSent), sec. 3.1.
    """
    return jnp.concatenate([difference_features(left, right), left * right], axis=-1)


def linear(
    weight: Float[Array, "f c"],
    bias: Float[Array, " c"] | None = None,
    features: Classifier = difference_features,
) -> Classifier:
    """A linear classifier of features of two vectors: what is learnt is a value, and this a function of it.

    Raises: ValueError when it is called, for a weight that has not one row a feature.
    """

    def logits(left: Float[Array, "b d"], right: Float[Array, "b d"]) -> Float[Array, "b c"]:
        given = features(left, right)
        if given.shape[1] != weight.shape[0]:
            raise ValueError(f"linear: {given.shape[1]} features need as many rows of weights, got {weight.shape}")
        scores = given @ weight.astype(given.dtype)
        return scores if bias is None else scores + bias.astype(given.dtype)[None, :]

    return logits


@declared("pairs", values=("class_weight",))
def softmax_classification(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    label: Int[Array, " b"],
    classifier: Classifier,
    class_weight: Float[Array, " c"] | None = None,
) -> Float[Array, " b"]:
    """Surprise, in nats, of the class of a pair.

        loss_i = -w_(y_i) log softmax(classifier(q_i, d_i))_(y_i)

    >>> vectors = jnp.eye(2)
    >>> classifier = linear(jnp.zeros((6, 3)))
    >>> each = softmax_classification(vectors, vectors, label=jnp.array([0, 2]), classifier=classifier)
    >>> [f"{one:.3f}" for one in each]
    ['1.099', '1.099']

    Args:
      label: which class each pair is of, from 0.
      classifier: from both vectors of every row to logits `[b, classes]`, as `linear(weight, bias)`.
      class_weight: of each class; 0 or more.  Rows are not divided by the weights of a batch, which would make them
        depend on each other.
    Returns: one loss a pair; `log(classes)` where all logits are equal.
    Raises: ValueError for labels of another length or outside the classes, or other shapes of logits or weights.
    Source: Reimers & Gurevych 2019, arXiv:1908.10084, the classification objective.
    """
    left, right = _pairs("softmax_classification", query, document, label)
    logits = classifier(left, right)
    if logits.ndim != 2 or logits.shape[0] != left.shape[0]:
        raise ValueError(f"softmax_classification: logits must be [{left.shape[0]}, classes], got {logits.shape}")
    classes = logits.shape[1]
    known = f"a class, 0 to {classes - 1}"
    all_values("softmax_classification", "label", label, known, lambda values: (values >= 0) & (values < classes))
    each = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    if class_weight is None:
        return each
    if class_weight.shape != (classes,):
        raise ValueError(f"softmax_classification: class_weight must be {(classes,)}, got {class_weight.shape}")
    return class_weight.astype(each.dtype)[label] * each


@declared("pairs")
def binary_classification(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    label: Float[Array, " b"] | Int[Array, " b"] | Bool[Array, " b"],
    classifier: Classifier,
    positive_weight: float = 1.0,
) -> Float[Array, " b"]:
    """Surprise, in nats, of whether a pair belongs together.  With `p = sigmoid(classifier(q_i, d_i))`:

        loss_i = -w y_i log p - (1 - y_i) log(1 - p)

    >>> from jaxemb.losses import row_dot
    >>> query, document = jnp.array([[1.0, 1.0]]), jnp.array([[2.0, -2.0]])  # a logit of 0
    >>> [f"{one:.3f}" for one in binary_classification(query, document, label=jnp.array([1]), classifier=row_dot)]
    ['0.693']

    Args:
      label: 1 where a pair belongs together, 0 where it does not, or how sure that is.
      classifier: from both vectors of every row to a logit `[b]` or `[b, 1]`: `row_dot`, or `linear(weight, bias)`.
      positive_weight: of pairs that belong together; > 0.
    Returns: one loss a pair; `log(2)` where the logit is 0.
    Raises: ValueError for labels of another length or outside 0 to 1, or another shape of logits.
    """
    left, right = _pairs("binary_classification", query, document, label)
    all_values("binary_classification", "label", label, "in [0, 1]", lambda values: (values >= 0) & (values <= 1))
    if not positive_weight > 0:
        raise ValueError(f"binary_classification: positive_weight must be above 0, got {positive_weight}")
    logits = classifier(left, right)
    if logits.shape not in ((left.shape[0],), (left.shape[0], 1)):
        raise ValueError(f"binary_classification: logits must be [{left.shape[0]}], got {logits.shape}")
    logits = logits.reshape(-1)
    belongs = label.astype(logits.dtype)
    yes, no = (optax.sigmoid_binary_cross_entropy(logits, jnp.full_like(logits, answer)) for answer in (1.0, 0.0))
    return positive_weight * belongs * yes + (1 - belongs) * no


def _pairs(name: str, query: Array, document: Array, label: Array) -> tuple[Array, Array]:
    paired(name, query, document)
    one_a_row(name, query.shape[0], label=label)
    full = wide(query.dtype)
    return query.astype(full), document[: query.shape[0]].astype(full)
