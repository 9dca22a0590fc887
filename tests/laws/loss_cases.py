"""All losses, and what each needs: a new loss joins here and meets every law of `test_loss_laws.py`."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxemb import losses


def nothing(draw: np.random.Generator, b: int, n: int) -> dict[str, Any]:
    return {}


def ignore(draw, b, n):
    return {"ignore": jnp.asarray(draw.random((b, n)) < 0.3)}


def targets(draw, b, n):
    share = draw.random((b, n)) ** 4
    return {"targets": jnp.asarray(share / share.sum(axis=1, keepdims=True), jnp.float32)}


def teacher(draw, b, n):
    return {"teacher": jnp.asarray(draw.normal(size=(b, n)), jnp.float32)}


def key(draw, b, n):
    return {"document_key": jnp.asarray(draw.integers(0, 6, size=(n, 2)), jnp.int32)}


def guide(draw, b, n):
    return {
        "guide_query": jnp.asarray(draw.normal(size=(b, 3)), jnp.float32),
        "guide_document": jnp.asarray(draw.normal(size=(n, 3)), jnp.float32),
    }


def weight(draw, b, n):
    return {"weight": jnp.asarray(draw.random(b), jnp.float32)}


def label_of_documents(draw, b, n):
    return {"label": jnp.asarray(np.arange(n) % 3, jnp.int32)}


def closeness(draw, b, n):
    return {"label": jnp.asarray(draw.integers(0, 4, b) / 4, jnp.float32)}


def yes_or_no(draw, b, n):
    return {"label": jnp.asarray(np.arange(b) % 2, jnp.int32)}


def one_of_three(draw, b, n):
    return {"label": jnp.asarray(draw.integers(0, 3, b), jnp.int32)}


def list_of(count):
    return lambda draw, b, n: {"teacher": jnp.asarray(draw.normal(size=(b, count)), jnp.float32)}


THREE = losses.linear(jnp.asarray(np.random.default_rng(3).normal(size=(12, 3)), jnp.float32))
ONE = losses.linear(
    jnp.asarray(np.random.default_rng(4).normal(size=(16, 1)), jnp.float32), features=losses.product_features
)
listed = partial(losses.score_distillation, temperature=0.5)


def free(*laws: str) -> frozenset[str]:
    return frozenset(laws)


class Case(NamedTuple):
    """A loss, the keyword arrays that it needs, and which laws it is free of.

    free: of `order` (of negatives), `length` (of vectors), `sign` (never negative), `slope` (its gradient is compared
      with differences), `teacher` (documents get a gradient).
    negatives: of its own that each query has among the documents, in blocks after the own documents.
    fewest: documents that it needs.
    equal: whether it needs one document a query.
    """

    name: str
    loss: Callable[..., Any]
    arrays: Callable[[np.random.Generator, int, int], dict[str, Any]] = nothing
    free: frozenset[str] = frozenset()
    negatives: int = 0
    fewest: int = 1
    equal: bool = False

    def documents(self, b: int, extra: int = 0) -> int:
        """How many there may be for `b` queries, with so many more than one each."""
        return b * (1 + self.negatives) if self.negatives or self.equal else b + extra

    def kwargs(self, b: int, n: int) -> dict[str, Any]:
        return self.arrays(np.random.default_rng(7), b, n)


warm = partial(losses.info_nce, temperature=0.5)

PLAIN = [
    Case("info_nce", warm),
    Case("info_nce, masked", warm, ignore),
    Case("info_nce, soft targets", warm, targets),
    Case("info_nce, margin", partial(warm, margin=0.2)),
    Case("joint_info_nce", partial(losses.joint_info_nce, temperature=0.5)),
    Case("embedding_distillation", losses.embedding_distillation, free=free("teacher")),
    Case("score_distillation", partial(losses.score_distillation, temperature=0.5), teacher),
]
MADE = [
    Case("swapped", losses.swapped(warm), free=free("order")),
    Case("symmetric", losses.symmetric(warm), free=free("order")),
    Case("symmetric, duplicates masked", losses.symmetric(losses.mask_duplicates(warm)), key, free("order")),
    Case("mask_duplicates", losses.mask_duplicates(warm), key),
    Case("mask_by_guide", losses.mask_by_guide(warm, margin=0.1), guide),
    Case("mask_by_teacher", losses.mask_by_teacher(warm), teacher),
    Case("mask_above_own", losses.mask_above_own(warm, margin=0.1), free=free("slope")),
    Case("weighted", losses.weighted(warm), weight),
    Case("matryoshka info_nce", losses.matryoshka(warm, (2, 4))),
    Case("matryoshka info_nce, masked", losses.matryoshka(warm, (2, 4)), ignore),
    Case(
        "matryoshka score_distillation",
        losses.matryoshka(partial(losses.score_distillation, temperature=0.5), (2, 4)),
        teacher,
    ),
    Case("matryoshka symmetric", losses.matryoshka(losses.symmetric(warm), (2, 4)), free=free("order")),
    Case("symmetric matryoshka", losses.symmetric(losses.matryoshka(warm, (2, 4))), free=free("order")),
]
OTHERS = [
    Case("hinge_ranking", losses.hinge_ranking, fewest=2),
    Case("hinge_ranking, masked", losses.hinge_ranking, ignore, fewest=2),
    Case("hinge_ranking, sum", partial(losses.hinge_ranking, choose=losses.every), fewest=2),
    Case("hinge_ranking, hardest", partial(losses.hinge_ranking, choose=losses.hardest), fewest=2),
    Case("hinge_ranking, hardest two", partial(losses.hinge_ranking, choose=losses.hardest_of(2)), fewest=2),
    Case("hinge_ranking, semi-hard", partial(losses.hinge_ranking, choose=losses.semi_hard), fewest=2),
    Case(
        "hinge_ranking, distance",
        partial(losses.hinge_ranking, margin=2.0, similarity=losses.negative_distance),
        free=free("length"),
        fewest=2,
    ),
    Case("soft_margin_ranking", losses.soft_margin_ranking, fewest=2),
    Case("mega_batch_margin", losses.mega_batch_margin, fewest=2),
    Case("hard_info_nce", partial(losses.hard_info_nce, hardest=2, temperature=0.5), fewest=3),
    Case("triplet", losses.triplet, free=free("order"), negatives=1),
    Case(
        "triplet, euclidean",
        partial(losses.triplet, negatives=2, margin=1.0, distance=losses.euclidean_distance),
        free=free("order", "length"),
        negatives=2,
    ),
    Case("batch_hard", losses.batch_hard, label_of_documents, fewest=2),
    Case("batch_hard_soft", losses.batch_hard_soft, label_of_documents, fewest=2),
    Case("batch_all", losses.batch_all, label_of_documents, fewest=2),
    Case("batch_semi_hard", losses.batch_semi_hard, label_of_documents, fewest=2),
    Case("sigmoid_contrastive", partial(losses.sigmoid_contrastive, temperature=0.5, bias=-1.0)),
    Case("sigmoid_contrastive, masked", partial(losses.sigmoid_contrastive, temperature=0.5, bias=-1.0), ignore),
    Case("cosent", partial(losses.cosent, temperature=0.5), closeness),
    Case("angle", partial(losses.angle, temperature=0.5), closeness),
    Case("similarity_regression", losses.similarity_regression, closeness),
    Case("contrastive_pairs", losses.contrastive_pairs, yes_or_no),
    Case("online_contrastive", losses.online_contrastive, yes_or_no),
    Case("margin_mse", partial(losses.margin_mse, negatives=2), list_of(3), free=free("order", "length"), negatives=2),
    Case(
        "embedding_distillation, squares",
        partial(losses.embedding_distillation, distance=losses.mean_squared_distance),
        free=free("length", "teacher"),
    ),
    Case("similarity_distillation", losses.similarity_distillation, free=free("order", "teacher"), equal=True),
    Case("score_distillation, ListNet", partial(listed, divergence=losses.list_net), teacher),
    Case("score_distillation, ListMLE", partial(listed, divergence=losses.list_mle), teacher),
    Case("score_distillation, order", partial(listed, divergence=losses.rank_order), teacher),
    Case(
        "list_distillation",
        partial(losses.list_distillation, negatives=2, temperature=0.5),
        list_of(3),
        free=free("order"),
        negatives=2,
    ),
    Case(
        "softmax_classification",
        partial(losses.softmax_classification, classifier=THREE),
        one_of_three,
        free=free("length"),
    ),
    Case(
        "binary_classification", partial(losses.binary_classification, classifier=ONE), yes_or_no, free=free("length")
    ),
    Case(
        "logit_distillation",
        partial(losses.logit_distillation, classifier=ONE),
        list_of(1),
        free=free("length"),
    ),
    Case("logit_regression", partial(losses.logit_regression, classifier=ONE), closeness, free=free("length")),
    Case("quantization_penalty", losses.quantization_penalty),
    Case("bit_balance", losses.bit_balance, free=free("slope", "length"), fewest=2),
    Case("bit_decorrelation", losses.bit_decorrelation, free=free("slope", "length"), fewest=2),
    Case("alignment", losses.alignment),
    Case("uniformity", losses.uniformity, free=free("sign"), fewest=2),
    Case("barlow_twins", losses.barlow_twins, free=free("length"), fewest=2),
    Case("variance", losses.variance, free=free("length"), fewest=2),
    Case("covariance", losses.covariance, free=free("length"), fewest=2),
    Case("global_orthogonal", losses.global_orthogonal, fewest=2),
    Case("binarize info_nce", losses.binarize(partial(losses.info_nce, temperature=0.5)), free=free("slope")),
    Case("projected info_nce", losses.projected(partial(losses.info_nce, temperature=0.5), jnp.eye(4) + 0.1)),
    Case(
        "backward_compatible info_nce",
        losses.backward_compatible(partial(losses.info_nce, temperature=0.5)),
        free=free("teacher"),
    ),
]


def concepts_above_zero(query, document, **kwargs):
    """Concepts are 0 or 1, which vectors drawn by chance are not."""
    return losses.concept_classification(query, (document > 0).astype(query.dtype), **kwargs)


CONCEPTS = losses.with_form(concepts_above_zero, losses.form_of(losses.concept_classification))
OTHERS += [
    Case(
        "concept_classification",
        partial(CONCEPTS, positive_weight=jnp.array([0.5, 2.0, 1.0, 0.7])),
        free=free("length", "teacher"),
    ),
    Case("activation_sum", losses.activation_sum, free=free("length", "teacher")),
    Case(
        "progressive",
        partial(losses.progressive(warm, 2), strength=0.7),
        free=free("order", "slope"),
        negatives=2,
        fewest=2,
    ),
    Case("weighted_negatives", partial(losses.weighted_negatives(warm, 0.5), strength=0.7), free=free("slope")),
    Case("focal", losses.focal(warm), free=free("slope")),
]
LOSSES = PLAIN + MADE + OTHERS
WHOLE = frozenset(
    {
        "batch_all",
        "batch_semi_hard",
        "cosent",
        "angle",
        "online_contrastive",
        "bit_balance",
        "bit_decorrelation",
        "uniformity",
        "barlow_twins",
        "variance",
        "covariance",
        "global_orthogonal",
        "progressive",
    }
)
"""Those of a whole batch, without rows of their own."""
FEW = (
    "info_nce, masked",
    "joint_info_nce",
    "embedding_distillation",
    "symmetric, duplicates masked",
    "mask_by_guide",
    "weighted",
    "matryoshka score_distillation",
    "symmetric matryoshka",
)
