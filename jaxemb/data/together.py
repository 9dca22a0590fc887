"""Several streams as one: every batch has the entries of a batch of each."""

import json
from typing import Any

from jaxemb.data.streams import Stream
from jaxemb.types import Batch


class Together:
    """Batches of several streams side by side, each drawn by itself; its place is the places of all.

    Raises: ValueError without streams, and, when batches come, for an entry that two of them have.
    """

    def __init__(self, *streams: Stream) -> None:
        if not streams:
            raise ValueError("together: wanted one stream or more, got none")
        self._streams = streams

    def __iter__(self) -> "Together":
        return self

    def __next__(self) -> Batch:
        joined: dict[str, Any] = {}
        for one in self._streams:
            batch = next(one)
            if twice := sorted(joined.keys() & batch.keys()):
                raise ValueError(f"together: several streams have {', '.join(twice)}")
            joined.update(batch)
        return joined

    def get_state(self) -> bytes:
        """Where all of them stand."""
        return json.dumps([one.get_state().decode() for one in self._streams]).encode()

    def set_state(self, state: bytes) -> None:
        """Go on there.  Raises: ValueError for the state of another number of streams, or of other settings."""
        saved = json.loads(state)
        if len(saved) != len(self._streams):
            raise ValueError(f"together: wanted the state of {len(self._streams)} streams, got {len(saved)}")
        for one, place in zip(self._streams, saved, strict=True):
            one.set_state(place.encode())


def together(*streams: Stream) -> Together:
    """Every batch has the entries of a batch of each stream."""
    return Together(*streams)
