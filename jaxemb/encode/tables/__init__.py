"""Tables of vectors for ids, trained inside a model under a budget of bytes.

Each maker gives a `Method`: fields and a share of the full table's bytes to a planned `Table`.
"""

from collections.abc import Callable

from jaxemb.encode.tables.codes import dpq, dpq_softmax, mgqe
from jaxemb.encode.tables.compositional import compositional, compositional_sum
from jaxemb.encode.tables.deep_hash import deep_hash
from jaxemb.encode.tables.dimensions import given_dimensions, mixed_dimensions
from jaxemb.encode.tables.frequent import adaptive
from jaxemb.encode.tables.hashed import full, hash_rows
from jaxemb.encode.tables.merged import dedup, shared_blocks
from jaxemb.encode.tables.pruned import auto_srh, deep_light, kept_entries, pep
from jaxemb.encode.tables.quantized import learnt_steps, nearest, quantized, stochastic
from jaxemb.encode.tables.robe import robe
from jaxemb.encode.tables.searched import auto_dim, opt_embed, shortened_rows
from jaxemb.encode.tables.stored import load, save
from jaxemb.encode.tables.table import (
    BatchLoss,
    BelowFloor,
    Fields,
    Looked,
    Method,
    Next,
    Now,
    Score,
    Table,
    Training,
    size,
)
from jaxemb.encode.tables.tensor_train import tensor_train

METHODS: dict[str, Callable[[], Method]] = {
    "full": full,
    "hash": hash_rows,
    "compositional": compositional,
    "tensor-train": tensor_train,
    "deep-hash": deep_hash,
    "robe": robe,
    "mixed-dimensions": mixed_dimensions,
    "int8": quantized,
    "int16": lambda: quantized(16),
    "alpt8": learnt_steps,
    "alpt16": lambda: learnt_steps(16),
    "dpq": dpq,
    "dpq-softmax": dpq_softmax,
    "mgqe": mgqe,
    "adaptive": adaptive,
    "auto-dim": auto_dim,
    "opt-embed": opt_embed,
    "deep-light": deep_light,
    "pep": pep,
    "auto-srh": auto_srh,
    "dedup": dedup,
}
"""Methods with their default settings, by the names that tables of results use."""

__all__ = [
    "METHODS",
    "BatchLoss",
    "BelowFloor",
    "Fields",
    "Looked",
    "Method",
    "Next",
    "Now",
    "Score",
    "Table",
    "Training",
    "adaptive",
    "auto_dim",
    "auto_srh",
    "compositional",
    "compositional_sum",
    "dedup",
    "deep_hash",
    "deep_light",
    "dpq",
    "dpq_softmax",
    "full",
    "given_dimensions",
    "hash_rows",
    "kept_entries",
    "learnt_steps",
    "load",
    "mgqe",
    "mixed_dimensions",
    "nearest",
    "opt_embed",
    "pep",
    "quantized",
    "robe",
    "save",
    "shared_blocks",
    "shortened_rows",
    "size",
    "stochastic",
    "tensor_train",
]
