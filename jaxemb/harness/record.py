"""What a measurement leaves behind: JSON lines, one a number, and nothing else is ever read by tables or plots."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from jaxemb import atomic

Each = Literal["query", "seed", "repeat", "once"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One number and all it takes to get it again: a JSON line, appended to `bench/results/`, never edited.

    recipe: what was measured, as tables call it.
    config: as run, defaults written out; plain JSON, so tuples become lists.
    task: with the data's revision: `scifact@d56462d/test`.
    metric: with its unit, where it has one: `ndcg@10`, `search_ms`, `index_bytes_disk`.
    values: never only the best; NaN where there is no value.
    each: what one value is of: a query, a seed of training, a timed repeat, or `once` for the only one.
    device: `2-core CPU (AMD EPYC)`, `1x NVIDIA H100`.
    versions: jaxemb with its commit, jax, jaxlib, and whatever else took part.

    Raises: ValueError for no value, an infinite one, more than one of `once`, an
      unknown `each`, or a config that JSON cannot hold.
    """

    recipe: str
    config: dict[str, Any]
    task: str
    metric: str
    values: tuple[float, ...]
    each: Each
    device: str
    versions: dict[str, str]

    def __post_init__(self) -> None:
        what = f"record of {self.metric!r} of {self.recipe!r}"
        if self.each not in get_args(Each):
            raise ValueError(f"{what}: each must be one of {get_args(Each)}, got {self.each!r}")
        if not self.values or (self.each == "once" and len(self.values) != 1):
            raise ValueError(f"{what}: wanted one value {self.each}, got {len(self.values)}")
        if any(math.isinf(value) for value in self.values):
            raise ValueError(f"{what}: infinity is no measurement")
        try:
            plain = json.loads(json.dumps(self.config, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{what}: the config must be plain JSON: {error}") from error
        object.__setattr__(self, "config", plain)
        object.__setattr__(self, "values", tuple(float(value) for value in self.values))


def line(record: Record) -> str:
    """The record as one line of JSON, without the line's end; NaN becomes `null`.

    >>> print(line(Record(recipe="r", config={}, task="t@1", metric="m", values=(0.5,), each="once", device="d",
    ...                   versions={}))[:59])
    {"recipe": "r", "config": {}, "task": "t@1", "metric": "m",
    """
    content = asdict(record)
    content["values"] = [None if math.isnan(value) else value for value in record.values]
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def parse(text: str) -> Record:
    """The record that a line holds.  Raises: ValueError for anything else than a whole record."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not a whole line of JSON: {error}") from error
    wanted = {field.name for field in fields(Record)}
    if not isinstance(content, dict) or set(content) != wanted:
        got = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"a record has the fields {sorted(wanted)}, got {got}")
    content["values"] = tuple(math.nan if value is None else float(value) for value in content["values"])
    return Record(**content)


def read(path: Path | str) -> list[Record]:
    """All records of a file.  Raises: ValueError that names the line that is torn or no record; none is skipped."""
    records = []
    with Path(path).open(encoding="utf-8") as lines:
        for number, text in enumerate(lines, 1):
            try:
                records.append(parse(text))
            except (ValueError, TypeError) as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
    return records


def write(path: Path | str, records: Iterable[Record]) -> None:
    """Write the records of one run, whole or not at all, in place of what was there."""
    text = "".join(line(record) + "\n" for record in records)
    with atomic.file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def append(path: Path | str, records: Iterable[Record]) -> None:
    """Add records to a file.

    The file is written anew with the old lines in front and renamed into place:
    whenever the writer is killed, a reader sees all of them or none, and never
    half a line.  One writer a file at a time; runs side by side write a file each.
    """
    path = Path(path)
    write(path, [*(read(path) if path.exists() else []), *records])
