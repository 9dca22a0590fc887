"""A finished matrix of vectors, made small as a whole under a budget of bytes.

Each function makes a `MatrixCompressor`: compress a matrix into a budget, decompress all of it or some rows.
`compress` makes codes of vectors one by one, to be searched; here rows are only looked up, as in a table of tokens or
passages, so that they may share what they have in common.
"""

from jaxemb.compress.matrix.coded import coded, magpq, pq
from jaxemb.compress.matrix.form import MatrixCompressor, size
from jaxemb.compress.matrix.low_rank import magsvd, svd
from jaxemb.compress.matrix.merged import dedup
from jaxemb.compress.matrix.pruned import pruned
from jaxemb.compress.matrix.quantized import quantized
from jaxemb.compress.matrix.stored import by_name, load, save
from jaxemb.compress.matrix.tensor_train import tt

__all__ = [
    "MatrixCompressor",
    "by_name",
    "coded",
    "dedup",
    "load",
    "magpq",
    "magsvd",
    "pq",
    "pruned",
    "quantized",
    "save",
    "size",
    "svd",
    "tt",
]
