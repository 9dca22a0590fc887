"""Rows of a claim as records, with the machine and the versions that they were measured with."""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from jaxemb.claims.claim import Claim, Where
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


WHOLE, SECONDS, CPU_SECONDS = "the whole run", "claim_seconds", "claim_cpu_seconds"


def measured(claim: Claim, where: Where) -> list[Record]:
    """All rows of a claim, and how long the run took: on the clock, and of all cores together."""
    kept = sorted(path.name for path in where.data.iterdir())  # what is there already is not made again
    clock, cpu = time.perf_counter(), time.process_time()
    with compiled_once():
        records = list(claim.measure(where))
    took = {SECONDS: time.perf_counter() - clock, CPU_SECONDS: time.process_time() - cpu}
    config = {"seeds": where.seeds, "kept": kept}
    times = [row(WHOLE, config, records[0].task, metric, [value], each="once") for metric, value in took.items()]
    return [*records, *times]


@contextlib.contextmanager
def compiled_once() -> Iterator[None]:
    """Keep compiled programs while the block runs: every seed builds the same steps anew, and each takes seconds."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name, value in zip(names, (folder, 0.1), strict=True):
                jax.config.update(name, value)
            compilation_cache.reset_cache()  # JAX looks once whether there is one
            yield
        finally:
            for name, value in before.items():
                jax.config.update(name, value)
            compilation_cache.reset_cache()
