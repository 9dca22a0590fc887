"""Finished vectors to another space: what a sample says of all, what two models' vectors or a task's pairs teach."""

from jaxemb.adapt.asked import Asked, check_asked, check_corpus, nearest
from jaxemb.adapt.between import Between, identity, perceptron, procrustes, ridge, shift
from jaxemb.adapt.drift import (
    Seen,
    Told,
    by_cluster,
    chained,
    compensate,
    compensate_by_cluster,
    mean_drift,
    seen,
    told,
    unseen,
)
from jaxemb.adapt.independent import fast_ica
from jaxemb.adapt.residual import Residual, adapted, dictionary, hidden, linear, low_rank, offset
from jaxemb.adapt.stored import Adapter, brought, by_name, load, save
from jaxemb.adapt.whiten import pca_whitening, zca_whitening

__all__ = [
    "Adapter",
    "Asked",
    "Between",
    "Residual",
    "Seen",
    "Told",
    "adapted",
    "brought",
    "by_cluster",
    "by_name",
    "chained",
    "check_asked",
    "check_corpus",
    "compensate",
    "compensate_by_cluster",
    "dictionary",
    "fast_ica",
    "hidden",
    "identity",
    "linear",
    "load",
    "low_rank",
    "mean_drift",
    "nearest",
    "offset",
    "pca_whitening",
    "perceptron",
    "procrustes",
    "ridge",
    "save",
    "seen",
    "shift",
    "told",
    "unseen",
    "zca_whitening",
]
