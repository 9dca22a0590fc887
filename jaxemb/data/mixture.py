"""Streams of several tasks as one, in which every batch is of one task."""

import json
from collections.abc import Mapping

import numpy as np

from jaxemb.data.streams import Stream
from jaxemb.types import Batch


def tempered(sizes: Mapping[str, int | float], temperature: float) -> dict[str, float]:
    """How often each task is drawn, by its size: `size ** (1 / temperature)`, scaled to a sum of one.

    1 draws by size; more lets small tasks come up more often, and very much makes all alike.

    >>> tempered({"large": 900, "small": 100}, 2.0)
    {'large': 0.75, 'small': 0.25}

    Raises: ValueError for a size or a temperature that is not above 0, or so low a one that a task is never drawn.
    Source: Devlin et al. 2018, multilingual BERT (exponent 0.7); Arivazhagan et al. 2019, arXiv:1907.05019, sec. 4.2.
    """
    if not temperature > 0:
        raise ValueError(f"tempered: temperature must be above 0, got {temperature}")
    _check_weights("tempered", sizes)
    with np.errstate(all="ignore"):  # numbers beyond floating point are told below
        powers = np.array(list(sizes.values()), float) ** (1 / temperature)
        shares = dict(zip(sizes, (powers / powers.sum()).tolist(), strict=True))
    _check_weights(f"tempered: at temperature {temperature}", shares)
    return shares


def _check_weights(name: str, weights: Mapping[str, int | float]) -> None:
    odd = {task: weight for task, weight in weights.items() if not (np.isfinite(weight) and weight > 0)}
    if odd or not weights:
        raise ValueError(f"{name}: wanted one number above 0 a task, got {odd or 'none'}")


class Mixture:
    """An iterator of batches `{task: <its stream's batch>}` whose place can be saved and restored."""

    def __init__(
        self, streams: "Mapping[str, Stream | Mixture]", weights: Mapping[str, int | float], seed: int
    ) -> None:
        self._streams = dict(sorted(streams.items()))
        self._weights = {task: float(weights[task]) for task in self._streams}
        self._seed = seed
        self._done = 0

    def __iter__(self) -> "Mixture":
        return self

    def __next__(self) -> Batch:
        task = self.task(self._done)
        batch = next(self._streams[task])
        self._done += 1
        return {task: batch}

    def task(self, number: int) -> str:
        """Which task batch `number`, from 0, is of: by the seed and the number alone."""
        shares = np.array(list(self._weights.values()))
        draw = np.random.default_rng([self._seed, number])
        return list(self._weights)[draw.choice(len(shares), p=shares / shares.sum())]

    def get_state(self) -> bytes:
        """Where the mixture and each of its streams stands, as JSON, with what its order depends on."""
        streams = {task: stream.get_state().decode() for task, stream in self._streams.items()}
        state = {"settings": self._settings(), "done": self._done, "streams": streams}
        return json.dumps(state, sort_keys=True).encode()

    def set_state(self, state: bytes) -> None:
        """Go on where another mixture of the same settings stood.

        Raises: ValueError when the state is of other settings.
        """
        saved = json.loads(state)
        if saved["settings"] != self._settings():
            raise ValueError(f"set_state: wanted a mixture of {self._settings()}, got one of {saved['settings']}")
        for task, stream in self._streams.items():
            stream.set_state(saved["streams"][task].encode())
        self._done = saved["done"]

    def _settings(self) -> dict[str, object]:
        return {"weights": self._weights, "seed": self._seed}


def mixture(
    streams: "Mapping[str, Stream | Mixture]", weights: Mapping[str, int | float] | None = None, *, seed: int
) -> Mixture:
    """Batches of several tasks, each of one task alone, so that no query meets the documents of another task.

    The task of a batch is drawn by `seed` and the batch's number, so that it is the same on any number of devices, and
    on every one of several processes.  A batch is `{task: batch of its stream}`: `train.by_task` reads it.  A task's
    prompts, batch size and hard negatives are a matter of its stream's `make`.

    Args:
      streams: task -> stream, each without an end; every one makes a few batches ahead.
      weights: task -> how often it comes, in any unit; `tempered` makes them from sizes.  By default all alike.
      seed: of the order of the tasks.
    Raises: ValueError for weights of other tasks, weights that are not above 0, a task called `key` or with a dot in
      its name, or no stream; `StopIteration` comes from a stream that has an end.
    """
    if not streams:
        raise ValueError("mixture: wanted one stream or more, got none")
    if odd := [task for task in streams if task == "key" or "." in task]:
        raise ValueError(f"mixture: a task must not be called 'key' or have a dot in its name, got {odd}")
    weights = dict.fromkeys(streams, 1.0) if weights is None else weights
    if weights.keys() != streams.keys():
        raise ValueError(f"mixture: wanted weights of {sorted(streams)}, got those of {sorted(weights)}")
    _check_weights("mixture", weights)
    return Mixture(streams, weights, seed)
