"""Objectives and batches to params: one loop, compiled over a mesh, that can be killed and goes on."""

from jaxemb.train.cache import gradient_cache
from jaxemb.train.fit import Batches, fit, last, warmup_cosine
from jaxemb.train.headed import cross_encoded, headed
from jaxemb.train.layerwise import layerwise
from jaxemb.train.leaves import joined, split
from jaxemb.train.log import Step, tensorboard
from jaxemb.train.lora import BASE, Adapter, adapted, by_rank, by_root_of_rank, dora, lora, started
from jaxemb.train.objective import Term, objective, pairwise
from jaxemb.train.optimizers import averaged, averaging, decayed, scale_by_depth
from jaxemb.train.placement import data_mesh, fully_sharded, placed, replicated
from jaxemb.train.plan import Plan, planned
from jaxemb.train.queue import CARRIED, Queue, empty_queue, push, queued, with_queue
from jaxemb.train.refresh import refreshed
from jaxemb.train.remat import remat
from jaxemb.train.schedule import counted, moving, scheduled
from jaxemb.train.step import Stepped, make_step
from jaxemb.train.tasks import by_task
from jaxemb.train.validation import Validation

__all__ = [
    "BASE",
    "CARRIED",
    "Adapter",
    "Batches",
    "Plan",
    "Queue",
    "Step",
    "Stepped",
    "Term",
    "Validation",
    "adapted",
    "averaged",
    "averaging",
    "by_rank",
    "by_root_of_rank",
    "by_task",
    "counted",
    "cross_encoded",
    "data_mesh",
    "decayed",
    "dora",
    "empty_queue",
    "fit",
    "fully_sharded",
    "gradient_cache",
    "headed",
    "joined",
    "last",
    "layerwise",
    "lora",
    "make_step",
    "moving",
    "objective",
    "pairwise",
    "placed",
    "planned",
    "push",
    "queued",
    "refreshed",
    "remat",
    "replicated",
    "scale_by_depth",
    "scheduled",
    "split",
    "started",
    "tensorboard",
    "warmup_cosine",
    "with_queue",
]
