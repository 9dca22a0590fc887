"""Rows of a claim as records, with the machine and the versions that they were measured with."""

from collections.abc import Sequence
from typing import Any

from jaxemb.harness import machine
from jaxemb.harness.record import Each, Record


def row(
    recipe: str, config: dict[str, Any], task: str, metric: str, values: Sequence[float], *, each: Each = "seed"
) -> Record:
    """A record of this machine.  Raises: as `Record` does."""
    return Record(
        recipe=recipe,
        config=config,
        task=task,
        metric=metric,
        values=tuple(values),
        each=each,
        device=machine.device(),
        versions=machine.versions(),
    )
