"""Vectors to codes, documents to a bundle, questions to documents."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from jaxemb.commands.command import show


@dataclass(frozen=True, kw_only=True)
class Compress:
    """Turn an array of vectors into codes; the compressor is fitted on all of them and kept beside the codes."""

    vectors: tyro.conf.Positional[Path]
    """A .npy file, float32 `[n, d]`."""
    out: tyro.conf.Positional[Path]
    """The folder to write: `codes.npy` and `compressor/`."""
    compressor: str = "int8"
    """Its name, as `int8`, `bits`, `truncate-128` or `truncate-128+int8`."""

    def run(self) -> None:
        """Fit, apply, save."""
        import jax.numpy as jnp
        import numpy as np

        from jaxemb import atomic, compress

        vectors = np.load(self.vectors, allow_pickle=False)
        if vectors.ndim != 2 or vectors.dtype != np.float32 or not len(vectors):
            raise ValueError(f"{self.vectors}: wanted float32 [n, d], got {vectors.dtype} {list(vectors.shape)}")
        vectors = jnp.asarray(vectors)
        chosen = compress.by_name(self.compressor)
        state = chosen.fit(vectors)
        codes = np.asarray(chosen.apply(state, vectors))
        with atomic.folder(self.out, replaces="codes.npy") as partial_folder:
            compress.save(partial_folder / "compressor", chosen, state)
            np.save(partial_folder / "codes.npy", codes, allow_pickle=False)
        smaller = vectors.nbytes / codes.nbytes
        show(f"{self.out}: {len(codes)} codes of {codes.nbytes // len(codes)} bytes, {smaller:.1f} times smaller")


@dataclass(frozen=True, kw_only=True)
class Index:
    """Embed the documents of a file and write a bundle that answers queries."""

    model: tyro.conf.Positional[Path | str]
    """A sentence-transformers folder, or the id of one on the hub."""
    texts: tyro.conf.Positional[Path]
    """.txt, one document a line, or .jsonl with `id` and `text`."""
    out: tyro.conf.Positional[Path]
    """The bundle to write; one that is there is replaced when the new one is finished."""
    kind: Literal["scann", "exact"] = "scann"
    compressor: str = "float32"
    """What is stored for a vector, as `int8` or `bits`; with scann `float32` or `truncate-<size>`."""

    def run(self) -> None:
        """Read, encode, index, write."""
        from jaxemb import compress, data, model
        from jaxemb.index import bundle

        documents = data.read_texts(self.texts)
        made = {"texts": self.texts.name, "model": Path(self.model).name}
        chosen = compress.by_name(self.compressor)
        loaded = model.searchable(model.load(self.model))
        bundle.write(self.out, loaded, documents.ids, documents.texts, compressor=chosen, index=self.kind, made=made)
        show(f'{self.out}: {len(documents.ids)} documents; ask it: jaxemb search {self.out} "your question"')


@dataclass(frozen=True, kw_only=True)
class Search:
    """Ask a bundle: prints score, id and text of the nearest documents."""

    bundle: tyro.conf.Positional[Path]
    """A folder that `jaxemb index` or `jaxemb quickstart` wrote."""
    query: tyro.conf.Positional[str]
    k: int | None = None
    """How many documents; by default 5, or all where there are fewer."""

    def run(self) -> None:
        """Load, search, print."""
        from jaxemb.index import bundle

        opened = bundle.load(self.bundle)
        k = min(5, opened.index.size) if self.k is None else self.k
        for rank, found in enumerate(bundle.search(opened, [self.query], k)[0], start=1):
            show(f"{rank}. {found.score:.4f}  {found.id}")
            show("\n".join(f"     {line}" for line in found.text.splitlines()[:6]))
