"""Records to an endless, shuffled stream of batches that can be left and taken up again."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from jaxemb import extras
from jaxemb.types import Batch

Record = TypeVar("Record")

THREADS = 4
AHEAD = 8  # batches made before they are asked for: grain's own 500 would fill the memory with tokens


class Stream:
    """An iterator of batches whose place can be saved and restored."""

    def __init__(self, batches: Any, settings: dict[str, Any]) -> None:
        self._batches = batches
        self._settings = settings

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Batch:
        return next(self._batches)

    def get_state(self) -> bytes:
        """Where the stream stands, as JSON, with the settings that its order depends on."""
        return json.dumps({"settings": self._settings, "place": self._batches.get_state()}, sort_keys=True).encode()

    def set_state(self, state: bytes) -> None:
        """Go on where another stream of the same settings stood.

        Raises: ValueError when the state is of other settings: its place would mean other batches.
        """
        saved = json.loads(state)
        if saved["settings"] != self._settings:
            raise ValueError(
                f"set_state: wanted the state of a stream of {self._settings}, got one of {saved['settings']}"
            )
        self._batches.set_state(saved["place"])


def stream(
    source: Sequence[Record],
    *,
    batch_size: int,
    seed: int,
    make: Callable[[Sequence[Record]], Batch],
    shuffle: bool = True,
    epochs: int | None = None,
    shard_index: int = 0,
    shard_count: int = 1,
) -> Stream:
    """Batches of `batch_size` records, each made by `make(records)`.

    Every epoch takes the records in an order of its own, drawn from `seed`.  What is left at its end and fills no batch
    is dropped for this epoch: no batch holds a record twice, and all have one shape.

    Of `shard_count` processes each takes the records of its `shard_index`; they share `seed`, see different records in
    an epoch and the same number of batches, for which up to `shard_count - 1` records are dropped too.

    Args:
      source: any sequence that several threads may read at once.
      batch_size: records a batch of this process.
      make: runs on whole batches, so that tokenisers work on many texts at once; in threads, up to `AHEAD` batches
        before they are asked for, and once again for those after a restored place.
      epochs: how often to go through the records; None is for ever.
    Raises: ValueError when a shard holds less than one batch, or a number is out of range.
    """
    if batch_size < 1 or not 0 <= shard_index < shard_count:
        raise ValueError(
            "stream: wanted batch_size >= 1 and 0 <= shard_index < shard_count, got "
            f"batch_size={batch_size}, shard_index={shard_index}, shard_count={shard_count}"
        )
    if epochs is not None and epochs < 1:
        raise ValueError(f"stream: wanted epochs >= 1, or None for ever, got {epochs}")
    share = len(source) // shard_count
    if share < batch_size:
        raise ValueError(
            f"stream: {len(source)} records in {shard_count} shards leave {share} to each, "
            f"less than one batch of {batch_size}"
        )
    grain = extras.load("grain")
    records = grain.MapDataset.source(source).seed(seed)
    if shuffle:
        records = records.shuffle()
    batches = records[shard_index : share * shard_count : shard_count].batch(
        batch_size, drop_remainder=True, batch_fn=make
    )
    ahead = batches.repeat(epochs).to_iter_dataset(grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD))
    settings = {
        "records": len(source),
        "batch_size": batch_size,
        "seed": seed,
        "shuffle": shuffle,
        "epochs": epochs,
        "shard_count": shard_count,
    }
    return Stream(iter(ahead), settings)
