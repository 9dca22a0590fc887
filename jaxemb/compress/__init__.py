"""Finished vectors to fewer or smaller numbers, scored as they are.

Each function makes a `types.Compressor`: fit a sample, turn vectors into codes,
score codes against a float query or against codes, decode.  `by_name` makes one
from what tables and bundles call it; `save` and `load` keep what it learnt.
"""

from jaxemb.compress.chained import chain
from jaxemb.compress.floats import identity, truncate
from jaxemb.compress.kmeans import kmeans
from jaxemb.compress.linear import hadamard, itq, pca, rotate
from jaxemb.compress.product import anisotropic, opq, pq
from jaxemb.compress.rabitq import rabitq
from jaxemb.compress.recurrent import compatible_start, multilevel, recurrent, recurrent_encoder, recurrent_start
from jaxemb.compress.residual import rq
from jaxemb.compress.scalar import int4, int6, int8
from jaxemb.compress.signs import bits, hamming
from jaxemb.compress.stored import by_name, load, save

__all__ = [
    "anisotropic",
    "bits",
    "by_name",
    "chain",
    "compatible_start",
    "hadamard",
    "hamming",
    "identity",
    "int4",
    "int6",
    "int8",
    "itq",
    "kmeans",
    "load",
    "multilevel",
    "opq",
    "pca",
    "pq",
    "rabitq",
    "recurrent",
    "recurrent_encoder",
    "recurrent_start",
    "rotate",
    "rq",
    "save",
    "truncate",
]
