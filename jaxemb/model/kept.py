"""Vectors of texts that are made once and found again."""

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxemb import atomic
from jaxemb.model.encoding import encode
from jaxemb.model.spec import Model, fingerprint


def kept_vectors(
    model: Model, texts: Sequence[str], folder: Path | str, *, name: str = "texts", what: str | None = None
) -> Float[np.ndarray, "n d"]:
    """The model's vectors of texts, as `encode` gives them, from a file where there is one and into it where not.

    Args:
      folder: where `<name>-<hash>.npz` is looked for and written; the hash is of the model and the texts.
      what: the name of a progress bar; None shows none.
    Raises: ValueError for a file that is broken, or holds something else; as `encode`.
    """
    told = hashlib.sha256(json.dumps([fingerprint(model), list(texts)]).encode()).hexdigest()[:12]
    file = Path(folder, f"{name}-{told}.npz")
    if file.is_file():
        return _read(file, name, (len(texts), model.size))
    vectors = encode(model, texts, what=what)
    with atomic.file(file) as partial, partial.open("wb") as stream:
        np.savez(stream, vectors=vectors)
    return vectors


def _read(file: Path, name: str, shape: tuple[int, int]) -> Float[np.ndarray, "n d"]:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            vectors = stored["vectors"]
    except (zipfile.BadZipFile, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"{file}: no vectors of {name}, remove it ({error})") from error
    if vectors.shape != shape or vectors.dtype != np.float32:
        raise ValueError(f"{file}: wanted float32{shape}, got {vectors.dtype}{vectors.shape}, remove it")
    return vectors
