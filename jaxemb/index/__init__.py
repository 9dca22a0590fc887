"""Vectors to the rows and scores of the nearest.

`exact` compares with every document, `scann` with the likely ones; both give an
`Index` with one `search`.  `bundle` puts encoder, compressor, index and texts in
one folder that can be moved and served.  `load` opens an index of either kind.
"""

from jaxemb.index import bundle, exact, scann
from jaxemb.index.interface import Hits, Index, bytes_on_disk
from jaxemb.index.kinds import build, load

__all__ = ["Hits", "Index", "build", "bundle", "bytes_on_disk", "exact", "load", "scann"]
