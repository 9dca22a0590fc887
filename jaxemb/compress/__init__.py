"""Finished vectors to fewer or smaller numbers, scored as they are.

Each function makes a `types.Compressor`: fit a sample, turn vectors into codes,
score codes against a float query or against codes, decode.  `by_name` makes one
from what tables and bundles call it; `save` and `load` keep what it learnt.
"""

from jaxemb.compress.chained import chain
from jaxemb.compress.floats import identity, truncate
from jaxemb.compress.scalar import int8
from jaxemb.compress.signs import bits, hamming
from jaxemb.compress.stored import by_name, load, save

__all__ = ["bits", "by_name", "chain", "hamming", "identity", "int8", "load", "save", "truncate"]
