"""Programs compiled ahead, into the cache on disk that JAX keeps between processes."""

import os
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from jaxemb import progress
from jaxemb.data.tokenize import pad
from jaxemb.model import prompts
from jaxemb.model.encoding import fixed, machine, reader
from jaxemb.model.spec import Model


def cache_folder() -> Path:
    """Where compiled programs are kept unless told otherwise: `jaxemb/compiled` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxemb" / "compiled"


def cached(folder: Path | str) -> None:
    """From here on, programs are looked for in this folder before they are compiled, and kept there.

    All of them, however quickly they compile.  A program that was compiled for another machine, JAX or encoder is never
    taken for one of these.
    """
    from jax.experimental.compilation_cache import compilation_cache

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    compilation_cache.reset_cache()  # what was compiled before has settled that there is none


def warm_up(
    model: Model,
    shapes: Sequence[tuple[int, int]] | None = None,
    *,
    devices: Sequence[jax.Device] = (),
    what: str | None = None,
) -> list[tuple[int, int]]:
    """Compile the programs for batches of these shapes, `(rows, length)`, and run each once.

    After it `encode` answers at full speed from its first call on.  With `cached` before it, later processes compile
    nothing either; there the first call of each shape still traces the encoder and reads its program from disk.

    Args:
      shapes: by default the `fixed` ones, which up to 256 texts at once are given.
      what: the name of a progress bar; None shows none.
    Returns: the shapes.
    Raises: ValueError for a shape that no batch of this model has: no rows, rows that the devices cannot share evenly,
      no tokens, or more than the encoder reads.
    """
    at, longest = machine(model, devices), model.tokenizer.max_length
    wanted = fixed(longest, at) if shapes is None else list(dict.fromkeys(shapes))
    for rows, length in wanted:
        if rows < 1 or rows % at.devices or not 0 < length <= (longest or length):
            limit = "" if longest is None else f" up to {longest}"
            raise ValueError(
                f"wanted rows, a multiple of {at.devices}, and a length of 1 or more{limit}, got {rows}x{length}"
            )
    ways = [reader(model, devices)]
    if model.spec.prompts and not model.spec.include_prompt:
        ways += [prompts.leaving_out(ways[0], 1)]  # texts with a prompt and texts without one take different programs
    nothing = np.zeros(0, np.int32)
    with progress.bar(what or "", len(wanted), shown=what is not None) as advance:
        for rows, length in wanted:
            for read in ways:
                read(pad([nothing] * rows, length)).block_until_ready()
            advance(1, note=f"{rows}x{length}")
    return wanted
