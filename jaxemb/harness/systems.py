"""An index as a row of the leaderboard."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxemb import compress
from jaxemb.harness.measure import System
from jaxemb.index import Index, bytes_on_disk


def of_index(name: str, index: Index, config: Mapping[str, Any], *, build_s: tuple[float, ...] = ()) -> System:
    """A system that searches an index with query vectors.

    Bytes on disk are counted here, by saving it, index and compressor, into a
    temporary folder.  Trees, tables and what a compressor learnt are in those and
    in the resident bytes; a vector's bytes are what one more of them would take.

    Args:
      name: what tables call it.
      config: what made the vectors (`encoder` first); the index's kind, compressor and settings are added.
      build_s: seconds from the documents' vectors to the index.
    """
    with tempfile.TemporaryDirectory() as folder:
        index.save(Path(folder) / "index")
        compress.save(Path(folder) / "compressor", index.compressor, index.state)
        disk = bytes_on_disk(folder)
    added = {"index": index.kind, "compressor": index.compressor.name, "settings": dict(index.settings)}
    return System(
        name=name,
        config={**config, **added},
        search=index.search,
        bytes_per_vector=index.bytes_per_vector,
        disk_bytes=disk,
        resident_bytes=index.resident_bytes,
        build_s=build_s,
    )
