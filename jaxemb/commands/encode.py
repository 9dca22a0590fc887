"""Texts to vectors, and the programs for it ahead."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from jaxemb.commands.command import show


@dataclass(frozen=True, kw_only=True)
class Encode:
    """Embed the documents of a file: into a folder of shards, with bounded memory, or into one NumPy array."""

    model: tyro.conf.Positional[Path | str]
    """A sentence-transformers folder, or the id of one on the hub."""
    texts: tyro.conf.Positional[Path]
    """.txt, one document a line, or .jsonl with `id` and `text`; either may be .gz."""
    out: tyro.conf.Positional[Path]
    """The folder to write; a run that was killed goes on in it.  Or a .npy file, float32 `[n, d]` made in memory."""
    prompt: str | None = "document"
    """Which of the model's prompts to put before every text."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What products are taken in."""
    format: Literal["safetensors", "parquet", "lance"] = "safetensors"
    """What shards are written as."""
    stored: Literal["float32", "float16"] = "float32"
    """What vectors are stored as."""
    shard_rows: int = 8192
    """Documents a shard: memory grows with it, and so does what a kill loses."""
    truncated: Path | None = None
    """A file to list the ids of documents in that lost their end, one a line."""
    cache: Path | None = None
    """A folder of compiled programs, as `jaxemb warm-up` fills one."""

    def run(self) -> None:
        """Read, encode, write."""
        from jaxemb import model

        self._check_truncated()
        if self.cache is not None:
            model.cached(self.cache)
        (self._array if self.out.suffix == ".npy" else self._shards)()

    def _check_truncated(self) -> None:
        """Before the hours of encoding.  Raises: ValueError for a list of ids in place of something else."""
        if self.truncated is None:
            return
        wanted = f"--truncated: wanted a file of its own, got {self.truncated}"
        if self.truncated.is_dir():
            raise ValueError(f"{wanted}, a folder")
        place, out = self.truncated.resolve(), self.out.resolve()
        if place == self.texts.resolve():
            raise ValueError(f"{wanted}, the texts to read")
        if place == out or out in place.parents:
            raise ValueError(f"{wanted}, in what is written")

    def _array(self) -> None:
        import numpy as np

        from jaxemb import atomic, data, model

        defaults = {"format": "safetensors", "stored": "float32", "shard_rows": 8192, "truncated": None}
        if odd := [name for name, default in defaults.items() if getattr(self, name) != default]:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in odd)
            raise ValueError(f"{names}: only for a folder of shards, {self.out} is one array")
        vectors = model.encode(
            model.load(self.model, dtype=self.dtype),
            data.read_texts(self.texts).texts,
            prompt=self.prompt,
            what=f"encode {self.texts.name}",
        )
        with atomic.file(self.out) as partial_file, partial_file.open("wb") as file:
            np.save(file, vectors, allow_pickle=False)
        show(f"{self.out}: {vectors.shape[0]} vectors of {vectors.shape[1]} dimensions")

    def _shards(self) -> None:
        from jaxemb import atomic, model

        corpus = model.encode_corpus(
            model.load(self.model, dtype=self.dtype),
            self.texts,
            self.out,
            format=self.format,
            stored=self.stored,
            shard_rows=self.shard_rows,
            prompt=self.prompt,
            what=f"encode {self.texts.name}",
        )
        if self.truncated is not None:
            with atomic.file(self.truncated) as partial_file, partial_file.open("w", encoding="utf-8") as file:
                file.writelines(f"{name}\n" for name in corpus.truncated())
        told = corpus.manifest
        show(f"{self.out}: {len(corpus)} vectors of {told['settings']['dimensions']} dimensions")


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """Compile a model's programs ahead, into a folder where later runs find them."""

    model: tyro.conf.Positional[Path | str]
    """A sentence-transformers folder, or the id of one on the hub."""
    shapes: tuple[str, ...] = ()
    """Batches as rows x tokens, as 1x32 16x128; by default all that up to 256 texts at once are given."""
    texts: Path | None = None
    """A file of documents: the batches that `jaxemb encode` makes of it, instead."""
    prompt: str | None = "document"
    """With --texts, what will be put before every text."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What products are taken in."""
    cache: Path | None = None
    """The folder; by default `jaxemb/compiled` in your cache folder."""

    def run(self) -> None:
        """Load, compile."""
        import jax

        from jaxemb import model

        if self.shapes and self.texts is not None:
            raise ValueError("wanted --shapes or --texts, got both")
        wanted = [_shape(text) for text in self.shapes] or None
        devices: list[jax.Device] = []
        cache = self.cache or model.cache_folder()
        model.cached(cache)
        loaded = model.load(self.model, dtype=self.dtype)
        if self.texts is not None:
            devices = jax.local_devices()  # among which a corpus is given out
            wanted = model.corpus_shapes(loaded, self.texts, prompt=self.prompt)
        done = model.warm_up(loaded, wanted, devices=devices, what="compile")
        show(f"{cache}: {len(done)} shapes; `jaxemb encode --cache {cache}` finds them there")


def _shape(text: str) -> tuple[int, int]:
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"--shapes: wanted rows x tokens, as 16x128, got {text!r}")
    return int(parts[0]), int(parts[1])
