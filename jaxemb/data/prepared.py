"""Rows of texts as a `tensorflow-datasets` data set on disk: array_record files, written once and read anywhere.

A source says what its rows are by a `Described`; the folder it fills is `<name>@<revision>`, so that the revision is
part of the name of every task made of it.
"""

import contextlib
import functools
import hashlib
import io
import json
import shutil
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxemb import atomic, extras, progress

SPLITS = ("train", "validation", "test")


class Described(NamedTuple):
    """What a data set is.

    name: as `debian`; lower case, of letters and underscores.
    version: raised by every change of how rows are made.
    row: the NamedTuple a row is, of fields that are `str` or `tuple[str, ...]`.
    maker: who prepares it, for messages, as `debian.prepare`.
    """

    name: str
    version: str
    row: type
    maker: str


def parted(described: Described, rows: Iterable[Any], key: Callable[[Any], str]) -> dict[str, list[Any]]:
    """Rows to splits, by a hash of their key: what shares one stays together.

    Within a split they are in the order of that hash, so that the first thousand are a fair sample of all; rows of one
    key stand together, as they came.

    Returns: the rows of each of `SPLITS`.
    """
    splits: dict[str, list[Any]] = {split: [] for split in SPLITS}
    for row in sorted(rows, key=lambda row: _place(described, key(row))):
        splits[split_of(described, key(row))].append(row)
    return splits


def split_of(described: Described, key: str) -> str:
    """Of the hashes of all keys 80% are `train`, 10% `validation` and 10% `test`.

    >>> split_of(Described("toy", "1.0.0", tuple, "toy.prepare"), "some")
    'train'
    """
    place = _place(described, key)
    return "train" if place < 0.8 else "validation" if place < 0.9 else "test"


def _place(described: Described, key: str) -> float:
    """Where between 0 and 1 the hash of a key lies."""
    return int.from_bytes(hashlib.sha256(f"{described.name}/{key}".encode()).digest()[:8], "big") / 2**64


def folder_name(described: Described, files: Iterable[tuple[str, bytes]]) -> str:
    """`<name>@` and 12 digits of a SHA-256 over the version and the name and content of every file."""
    digests = sorted((name, hashlib.sha256(content).hexdigest()) for name, content in files)
    return f"{described.name}@{hashlib.sha256(json.dumps([described.version, *digests]).encode()).hexdigest()[:12]}"


def write(described: Described, ready: Path, splits: Mapping[str, Sequence[Any]], tally: Mapping[str, int]) -> None:
    """Make the folder `ready` of rows a split, whole or not at all, and say what was counted on the way.

    Raises: ValueError when a split has no row.
    """
    if empty := [split for split in SPLITS if not splits[split]]:
        total = sum(len(rows) for rows in splits.values())
        raise ValueError(f"{ready.name}: no row for {' and '.join(empty)} among {total}; it needs a larger source")
    tfds = extras.load("tensorflow_datasets")
    with atomic.folder(ready, replaces=described.name) as partial:
        builder = _builder_class(described)(splits=splits, tally=tally, data_dir=partial, file_format="array_record")
        tfds.display_progress_bar(False)
        try:
            # It writes what it does to standard output, where a program's own results belong.
            with contextlib.redirect_stdout(io.StringIO()):
                builder.download_and_prepare()
        finally:
            tfds.display_progress_bar(True)
        shutil.rmtree(partial / "downloads")  # made by tfds whether it is needed or not
    progress.say(f"{ready.name}: " + ", ".join(f"{count} {what}" for what, count in tally.items()))


def rows(described: Described, prepared: Path | str, split: str, first: int | None = None) -> list[Any]:
    """The rows of a split, in the order in which they were written.

    Args:
      first: only so many of them, which is quicker; by default all.
    Raises: ValueError for another split, or more rows than there are; FileNotFoundError for a folder that is no such
      data set.
    """
    if split not in SPLITS:
        raise ValueError(f"{described.name}: wanted a split of {', '.join(SPLITS)}, got {split!r}")
    source = _reader(described, prepared).as_data_source(split)
    wanted = len(source) if first is None else first
    if not 0 < wanted <= len(source):
        raise ValueError(f"{described.name}, {split}: wanted 1 to {len(source)} rows, got {first}")
    # All at once takes half the time of one by one.
    return [_decoded(described.row, example) for example in source.__getitems__(range(wanted))]


def counts(described: Described, prepared: Path | str) -> dict[str, int]:
    """What a data set was made of and what was left out on the way."""
    return dict(_reader(described, prepared).info.metadata)


def _decoded(row: type, example: Mapping[str, Any]) -> Any:
    values = {
        name: value.decode() if isinstance(value, bytes) else tuple(each.decode() for each in value)
        for name, value in example.items()
    }
    return row(**values)


def _reader(described: Described, prepared: Path | str) -> Any:
    folder = Path(prepared, described.name, described.version)
    if not folder.is_dir():
        raise FileNotFoundError(f"{prepared}: no prepared {described.name} data set, as {described.maker} makes it")
    return extras.load("tensorflow_datasets").builder_from_directory(str(folder))


@functools.cache  # tfds registers a class by its name, once
def _builder_class(described: Described) -> type:
    tfds = extras.load("tensorflow_datasets")

    class Rows(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[name-defined, call-arg]
        """Rows of texts."""

        name = described.name
        VERSION = tfds.core.Version(described.version)
        url_infos = None  # nothing is downloaded; looking for checksums would need a package that tfds does not declare

        def __init__(self, *, splits: Mapping[str, Sequence[Any]], tally: Mapping[str, int], **where: Any) -> None:
            self._splits = splits
            self._tally = tally
            super().__init__(**where)

        def _info(self) -> Any:
            text = tfds.features.Text()
            fields = {
                name: text if kind is str else tfds.features.Sequence(text)
                for name, kind in typing.get_type_hints(described.row).items()
            }
            return tfds.core.DatasetInfo(
                builder=self,
                description=described.row.__doc__,
                features=tfds.features.FeaturesDict(fields),
                metadata=tfds.core.MetadataDict(self._tally),
                disable_shuffling=True,  # rows stay in the order they are given in
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {split: self._generate_examples(rows) for split, rows in self._splits.items()}

        def _generate_examples(self, rows: Sequence[Any]) -> Iterator[tuple[int, dict[str, Any]]]:
            for number, row in enumerate(rows):
                yield (
                    number,
                    {name: list(value) if isinstance(value, tuple) else value for name, value in row._asdict().items()},
                )

    return Rows
