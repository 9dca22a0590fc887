"""Objectives and batches to params: one loop, compiled over a mesh, that can be killed and goes on."""

from jaxemb.train.fit import Batches, Step, data_mesh, fit, make_step, placed, warmup_cosine
from jaxemb.train.objective import pairwise, towards, weighted

__all__ = [
    "Batches",
    "Step",
    "data_mesh",
    "fit",
    "make_step",
    "pairwise",
    "placed",
    "towards",
    "warmup_cosine",
    "weighted",
]
