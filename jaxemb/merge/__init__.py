"""Many params of one shape to one: pure functions over whole trees."""

from jaxemb.merge.directions import (
    by_leaf,
    combined,
    fold_coefficients,
    gram,
    karcher,
    model_stock,
    multi_slerp,
    slerp_fold,
)
from jaxemb.merge.operators import average, per_leaf, slerp, task_arithmetic
from jaxemb.merge.position import Position, self_position, weighted_mean
from jaxemb.merge.statistics import fisher, greedy_soup, information, input_gram, regmean
from jaxemb.merge.tasks import breadcrumbs, dare, della, moved, sce, task_vectors, ties
from jaxemb.merge.trees import same_shapes

__all__ = [
    "Position",
    "average",
    "breadcrumbs",
    "by_leaf",
    "combined",
    "dare",
    "della",
    "fisher",
    "fold_coefficients",
    "gram",
    "greedy_soup",
    "information",
    "input_gram",
    "karcher",
    "model_stock",
    "moved",
    "multi_slerp",
    "per_leaf",
    "regmean",
    "same_shapes",
    "sce",
    "self_position",
    "slerp",
    "slerp_fold",
    "task_arithmetic",
    "task_vectors",
    "ties",
    "weighted_mean",
]
