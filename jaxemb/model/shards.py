"""Rows of vectors with their ids in one file, in the formats that other tools read.

The same shard gives the same bytes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jaxemb import extras


class Shard(NamedTuple):
    """Some documents of a corpus, in their order.

    ids: their names.
    vectors: float32 or float16 `[n, d]`.
    truncated: which of them lost their end.
    """

    ids: list[str]
    vectors: Float[np.ndarray, "n d"]
    truncated: Bool[np.ndarray, " n"]


class Format(NamedTuple):
    """`suffix` of a file, `write` (shard, path) and `read` (path) -> shard."""

    suffix: str
    write: Callable[[Shard, Path], None]
    read: Callable[[Path], Shard]


def _write_safetensors(shard: Shard, path: Path) -> None:
    from safetensors.numpy import save

    names = [name.encode() for name in shard.ids]
    tensors = {
        "vectors": np.ascontiguousarray(shard.vectors),
        "truncated": shard.truncated,
        "ids": np.frombuffer(b"".join(names), np.uint8),
        "id_ends": np.cumsum([len(name) for name in names], dtype=np.int64),
    }
    path.write_bytes(save(tensors))  # `save_file` has a temporary file of its own, which a kill would leave


def _read_safetensors(path: Path) -> Shard:
    from safetensors.numpy import load_file

    tensors = load_file(path)
    text, ends = tensors["ids"].tobytes(), tensors["id_ends"].tolist()
    ids = [text[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]
    return Shard(ids, tensors["vectors"], tensors["truncated"])


def _table(shard: Shard) -> Any:
    arrow = extras.load("pyarrow")
    rows = arrow.FixedSizeListArray.from_arrays(arrow.array(shard.vectors.reshape(-1)), shard.vectors.shape[1])
    names = arrow.array(shard.ids, arrow.string())
    return arrow.table({"id": names, "vector": rows, "truncated": arrow.array(shard.truncated)})


def _shard(table: Any) -> Shard:
    vectors = table["vector"].combine_chunks()
    rows = vectors.flatten().to_numpy(zero_copy_only=False).reshape(len(table), vectors.type.list_size)
    return Shard(table["id"].to_pylist(), rows, table["truncated"].to_numpy())


def _write_parquet(shard: Shard, path: Path) -> None:
    extras.load("pyarrow.parquet").write_table(_table(shard), path, compression="none")  # floats do not get smaller


def _read_parquet(path: Path) -> Shard:
    return _shard(extras.load("pyarrow.parquet").read_table(path))


def _write_lance(shard: Shard, path: Path) -> None:
    table = _table(shard)
    # A file and not a data set: those name their parts at random, and one shard would not be one file.
    with extras.load("lance.file").LanceFileWriter(str(path), table.schema) as writer:
        writer.write_batch(table)


def _read_lance(path: Path) -> Shard:
    return _shard(extras.load("lance.file").LanceFileReader(str(path)).read_all().to_table())


FORMATS = {
    "safetensors": Format(".safetensors", _write_safetensors, _read_safetensors),
    "parquet": Format(".parquet", _write_parquet, _read_parquet),
    "lance": Format(".lance", _write_lance, _read_lance),
}
"""In safetensors, ids are their UTF-8 bytes one after another (`ids`) and where each ends (`id_ends`); in the other
formats they are a column beside `vector` and `truncated`."""


def by_name(name: str) -> Format:
    """One of `FORMATS`, with what it needs.

    Raises: ValueError for another; ImportError that names the extra to install.
    """
    if name not in FORMATS:
        raise ValueError(f"format {name!r} is unknown; there is {', '.join(FORMATS)}")
    for module in {"safetensors": (), "parquet": ("pyarrow.parquet",), "lance": ("pyarrow", "lance.file")}[name]:
        extras.load(module)
    return FORMATS[name]
