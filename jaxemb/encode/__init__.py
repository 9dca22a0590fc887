"""Tokens to vectors: encoders as pure `(init, apply)` pairs, each with the map of its keys to foreign checkpoints."""

from jaxemb.encode.families import FAMILIES
from jaxemb.encode.families import by_name as family_named
from jaxemb.encode.families import of as family_of
from jaxemb.encode.family import Family
from jaxemb.encode.functional import functional
from jaxemb.encode.pool import POOLINGS, cls, last, maximum, mean, normalized, pooled
from jaxemb.encode.small.static import StaticConfig, folded, from_table, static
from jaxemb.encode.stack import Stack, stack, unstacked
from jaxemb.encode.text.bert import BertConfig, bert

__all__ = [
    "FAMILIES",
    "POOLINGS",
    "BertConfig",
    "Family",
    "Stack",
    "StaticConfig",
    "bert",
    "cls",
    "family_named",
    "family_of",
    "folded",
    "from_table",
    "functional",
    "last",
    "maximum",
    "mean",
    "normalized",
    "pooled",
    "stack",
    "static",
    "unstacked",
]
