"""Texts to vectors: a tokenizer, an encoder and its params that belong together, in a sentence-transformers folder.

The folder is the exchange format: what is written here the sentence-transformers library loads and embeds alike, and
what it writes, in either generation of its files, is read here.
"""

from jaxemb.model.encoding import ROWS, TOKENS, Plan, encode, plan
from jaxemb.model.folder import demo_folder, load, save
from jaxemb.model.spec import (
    Model,
    Spec,
    build,
    combined,
    fingerprint,
    in_precision,
    make,
    searchable,
    shortened,
)

__all__ = [
    "ROWS",
    "TOKENS",
    "Model",
    "Plan",
    "Spec",
    "build",
    "combined",
    "demo_folder",
    "encode",
    "fingerprint",
    "in_precision",
    "load",
    "make",
    "plan",
    "save",
    "searchable",
    "shortened",
]
