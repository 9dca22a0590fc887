"""Vectors to the rows and scores of the nearest.

`exact` compares with every document, `scann`, `faiss`, `usearch` and `hnswlib` with
the likely ones, `fast_scan` with our own codes in registers, and `rescored` scores an
index's candidates again; all give an `Index` with one `search`.  `tuned` changes its
defaults.  `bundle` puts encoder, compressor, index and texts in one folder that can be
moved and served.  `load` opens an index of any kind.
"""

from jaxemb.index import bundle, exact, faiss, fast_scan, hnswlib, rescored, scann, usearch
from jaxemb.index.interface import Hits, Index, bytes_on_disk, tuned
from jaxemb.index.kinds import build, load

__all__ = [
    "Hits",
    "Index",
    "build",
    "bundle",
    "bytes_on_disk",
    "exact",
    "faiss",
    "fast_scan",
    "hnswlib",
    "load",
    "rescored",
    "scann",
    "tuned",
    "usearch",
]
