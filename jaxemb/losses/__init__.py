"""Vectors to one loss a row, and losses to losses: pure functions that compose with `jit`, `shard_map` and `pmap`."""

from jaxemb.losses.contrastive import info_nce
from jaxemb.losses.distillation import embedding_distillation, score_distillation
from jaxemb.losses.transforms import across_devices, matryoshka

__all__ = ["across_devices", "embedding_distillation", "info_nce", "matryoshka", "score_distillation"]
