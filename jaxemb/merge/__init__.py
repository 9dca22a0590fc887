"""Many params of one shape to one: pure functions over whole trees."""

from jaxemb.merge.directions import (
    by_leaf,
    combined,
    fold_coefficients,
    gram,
    karcher,
    karcher_coefficients,
    model_stock,
    model_stock_coefficients,
    multi_slerp,
    multi_slerp_coefficients,
    positive,
    slerp_fold,
)
from jaxemb.merge.operators import arc, average, per_leaf, slerp, slerp_coefficients, task_arithmetic
from jaxemb.merge.position import Position, self_position, weighted_mean
from jaxemb.merge.statistics import fisher, greedy_soup, information, input_gram, regmean
from jaxemb.merge.tasks import added, breadcrumbs, dare, della, moved, sce, task_vectors, ties
from jaxemb.merge.trees import combination, same_shapes

__all__ = [
    "Position",
    "added",
    "arc",
    "average",
    "breadcrumbs",
    "by_leaf",
    "combination",
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
    "karcher_coefficients",
    "model_stock",
    "model_stock_coefficients",
    "moved",
    "multi_slerp",
    "multi_slerp_coefficients",
    "per_leaf",
    "positive",
    "regmean",
    "same_shapes",
    "sce",
    "self_position",
    "slerp",
    "slerp_coefficients",
    "slerp_fold",
    "task_arithmetic",
    "task_vectors",
    "ties",
    "weighted_mean",
]
