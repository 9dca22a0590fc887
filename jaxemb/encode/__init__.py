"""Tokens to vectors: encoders as pure `(init, apply)` pairs, each with the map of its keys to foreign checkpoints."""

from jaxemb.encode.bert import BertConfig, bert
from jaxemb.encode.functional import functional
from jaxemb.encode.pool import POOLINGS, cls, last, maximum, mean, normalized, pooled
from jaxemb.encode.static import StaticConfig, folded, from_table, static

__all__ = [
    "POOLINGS",
    "BertConfig",
    "StaticConfig",
    "bert",
    "cls",
    "folded",
    "from_table",
    "functional",
    "last",
    "maximum",
    "mean",
    "normalized",
    "pooled",
    "static",
]
