"""All that answers a question, in one folder that can be moved, copied and served.

    encoder/        the model, as `model.save` writes it
    compressor/     its name and what it learnt
    index/          codes or ScaNN's assets
    documents/      ids and texts, by row
    adapter/        where the index is of an earlier model: what brings this one's queries to it
    manifest.json   every file's size and sha256, the model's fingerprint, versions, how it was made

Names inside are relative and nothing is a pickle.
"""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxemb import adapt, atomic, compress
from jaxemb.index import interface, kinds, manifest, texts
from jaxemb.index.interface import Index
from jaxemb.types import Compressor

if TYPE_CHECKING:
    from jaxemb.model import Model

ALIKE = 0.8  # cosine: far above what two models make of one text, below what rounding or a prompt does to one model's
VERSIONS = ("jaxemb", "jax", "jaxlib", "numpy", "scann", "faiss-cpu", "usearch", "hnswlib")


class Found(NamedTuple):
    """A document that answers a query; `score` is larger the closer it is."""

    id: str
    score: float
    text: str


@dataclass(frozen=True, eq=False)
class Bundle:
    """An open bundle.

    documents: ids and texts by row; they stay on disk.
    manifest: what `manifest.json` tells.
    adapter: from the model to the one that the index was made with, where that is another.
    """

    model: "Model"
    index: Index
    documents: texts.Texts
    manifest: dict[str, Any]
    adapter: adapt.Adapter | None = None

    @property
    def resident_bytes(self) -> int:
        """What index, compressor and documents hold in memory; the encoder is not counted."""
        return self.index.resident_bytes + self.documents.resident_bytes


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _checked(model: "Model", passages: Sequence[str], vectors: np.ndarray) -> np.ndarray:
    """The vectors, once they are known to be one a text and of this model, as far as the first texts tell."""
    from jaxemb.model import encode

    vectors = interface.documents("bundle", vectors)
    if len(vectors) != len(passages):
        raise ValueError(f"bundle: wanted a vector for each of {len(passages)} texts, got {list(vectors.shape)}")
    few = encode(
        model, list(passages[:4]), prompt="document", report=lambda _: None
    )  # the caller has been told of cut texts
    interface.vectors("bundle", vectors, few.shape[1])
    length = np.linalg.norm(few, axis=1) * np.linalg.norm(vectors[:4], axis=1)
    cosine = np.where(length > 0, (few * vectors[:4]).sum(axis=1) / np.where(length > 0, length, 1), 1)
    if (cosine < ALIKE).any():
        row = int(cosine.argmin())
        raise ValueError(
            f"bundle: vectors of another model: that of text {row} has cosine {cosine[row]:.3f} "
            f"to what this model makes of it"
        )
    return vectors


def write(
    folder: Path | str,
    model: "Model",
    ids: Sequence[str],
    passages: Sequence[str],
    *,
    vectors: np.ndarray | None = None,
    compressor: Compressor | None = None,
    index: str = "scann",
    settings: Mapping[str, Any] | None = None,
    made: Mapping[str, Any] | None = None,
) -> Bundle:
    """Make a bundle, whole or not at all; one that is there already is replaced when the new one is finished.

    Args:
      ids, passages: unique names of the documents and their texts, 1 or more.
      vectors: float32 `[n, d]` of the texts by this model, with its `document` prompt; encoded here by default.
      compressor: what is stored for a vector, fitted on all of them; float32 by default.
        With kind `scann` only those that store float vectors: `identity` and `truncate`.
      index, settings: the kind of index, and arguments of its `build`.
      made: how it came about, to be kept in the manifest; whatever JSON can hold.
    Returns: the bundle, open.
    Raises: ValueError for ids that are not unique, another number of vectors, vectors of
      another model, and what the index raises; nothing is written then.
    """
    from jaxemb.model import encode, fingerprint, save

    texts.check(ids, passages)
    vectors = (
        encode(model, list(passages), prompt="document", what="encode")
        if vectors is None
        else _checked(model, passages, vectors)
    )
    built = kinds.build(index, vectors, **{**(settings or {}), "compressor": compressor})
    said = {
        "kind": index,
        "size": built.size,
        "dim": built.dim,
        "compressor": built.compressor.name,
        "settings": dict(built.settings),
        "model": fingerprint(model),
        "versions": {"python": platform.python_version(), **{name: _installed(name) for name in VERSIONS}},
        "made": dict(made or {}),
    }
    folder = Path(folder)
    with atomic.folder(folder, replaces=manifest.FILE) as unfinished:
        save(model, unfinished / "encoder")
        compress.save(unfinished / "compressor", built.compressor, built.state)
        built.save(unfinished / "index")
        texts.write(unfinished / "documents", ids, passages)
        documents = texts.load(unfinished / "documents")
        told = manifest.write(unfinished, said)
    return Bundle(model, built, documents, told)


def upgrade(folder: Path | str, old: Bundle, model: "Model", adapter: adapt.Adapter) -> Bundle:
    """A bundle of a new model with the index of an old one, and what brings its queries there; nothing is encoded.

    The manifest tells all versions, the first one's first, under `chain`.

    Raises: ValueError for an adapter that is not from exactly this model to exactly the one of the old bundle's index,
      or an old bundle that has an adapter itself: queries go to the index's own version in one step.
    """
    from jaxemb.model import fingerprint, save

    if old.adapter is not None:
        raise ValueError(
            f"upgrade: the old bundle has an adapter to its index, which is of {old.manifest['model']}; learn one from "
            "the new model to that version, and upgrade the bundle in which the index was made"
        )
    said = {key: value for key, value in old.manifest.items() if key not in ("files", "format", "sha256")}
    _check_adapter("upgrade", adapter, fingerprint(model), said["model"])
    said["chain"] = [*said.get("chain", [said["model"]]), fingerprint(model)]
    folder = Path(folder)
    with atomic.folder(folder, replaces=manifest.FILE) as unfinished:
        save(model, unfinished / "encoder")
        compress.save(unfinished / "compressor", old.index.compressor, old.index.state)
        old.index.save(unfinished / "index")
        adapt.save(unfinished / "adapter", adapter)
        ids, passages = zip(*(old.documents[row] for row in range(len(old.documents))), strict=True)
        texts.write(unfinished / "documents", ids, passages)
        documents = texts.load(unfinished / "documents")
        told = manifest.write(unfinished, said)
    return Bundle(model, old.index, documents, told, adapter)


def _check_adapter(what: str, adapter: adapt.Adapter, model: str, index: str) -> None:
    """Raises: ValueError unless it goes from the one version to the other."""
    if (adapter.source, adapter.target) != (model, index):
        raise ValueError(
            f"{what}: wanted an adapter from {model} to {index}, of which the index is, got one from {adapter.source} "
            f"to {adapter.target}"
        )


def load(folder: Path | str, *, verify: bool = True) -> Bundle:
    """Open a bundle, wherever it has been moved or copied to.

    Args:
      verify: read every file and compare its sha256 with the manifest's; without, names and sizes only.
    Raises: FileNotFoundError where there is no bundle; ValueError that names the file which
      has changed, is missing or does not belong there, for an unknown format, and when the
      index was made with another model than the one in the bundle.
    """
    folder = Path(folder)
    while True:
        # A writer may put a new bundle into place while files of the old one are read: then start again.
        before = _which(folder)
        try:
            opened = _load(folder, verify)
        except (ValueError, OSError, RuntimeError):
            if _which(folder) == before:
                raise
        else:
            if _which(folder) == before:
                return opened


def _which(folder: Path) -> tuple[int, int, int]:
    try:
        found = folder.stat()
    except FileNotFoundError as missing:
        raise FileNotFoundError(f"{folder}: no bundle there") from missing
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _load(folder: Path, verify: bool) -> Bundle:
    from jaxemb import model

    said = manifest.read(folder, verify=verify)
    encoder = model.load(folder / "encoder")
    found = model.fingerprint(encoder)
    adapter = adapt.load(folder / "adapter") if (folder / "adapter").is_dir() else None
    if adapter is not None:
        _check_adapter(str(folder), adapter, found, said["model"])
    elif found != said["model"]:
        raise ValueError(f"{folder}: index from another model: it was made with {said['model']}, encoder/ is {found}")
    compressor, state = compress.load(folder / "compressor")
    opened = kinds.load(folder / "index", compressor=compressor, state=state)
    documents = texts.load(folder / "documents")
    if not opened.size == len(documents) == said["size"]:
        raise ValueError(f"{folder}: wanted {said['size']} rows, got {opened.size} vectors and {len(documents)} texts")
    return Bundle(encoder, opened, documents, said, adapter)


def search(bundle: Bundle, queries: Sequence[str], k: int) -> list[list[Found]]:
    """The `k` nearest documents of every query, best first; the model's `query` prompt is put before it.

    A list is shorter than `k` where ScaNN looked at fewer documents.

    Raises: ValueError for `k < 1` and for `k` above the number of documents.
    """
    from jaxemb.model import encode

    k = interface.depth(k, bundle.index.size)
    if not queries:
        return []
    asked = encode(bundle.model, list(queries), prompt="query")
    if bundle.adapter is not None:
        asked = np.asarray(adapt.brought(bundle.adapter, jnp.asarray(asked), of=bundle.adapter.source))
    hits = bundle.index.search(asked, k)
    return [
        [
            Found(name, float(score), text)
            for row, score in zip(rows, scores, strict=True)
            if row >= 0
            for name, text in [bundle.documents[int(row)]]
        ]
        for rows, scores in zip(*hits, strict=True)
    ]
