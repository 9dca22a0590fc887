"""Objectives and batches to params: one loop, compiled over a mesh, that can be killed and goes on."""

from jaxemb.train.fit import Batches, Step, data_mesh, fit, make_step, placed, warmup_cosine
from jaxemb.train.objective import Term, objective, pairwise

__all__ = [
    "Batches",
    "Step",
    "Term",
    "data_mesh",
    "fit",
    "make_step",
    "objective",
    "pairwise",
    "placed",
    "warmup_cosine",
]
