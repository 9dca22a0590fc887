"""TREC's two text formats: runs (what a system found) and judgements ("qrels").

A line of a run is `query Q0 document rank score tag`; of judgements, `query
iteration document grade`.  As in trec_eval the rank, the iteration and the tag
are not read: the scores give the order.
"""

from collections.abc import Callable, Iterator
from math import isnan
from pathlib import Path
from typing import TypeVar

from jaxemb import atomic
from jaxemb.evaluate.retrieval import Judgements, Run

T = TypeVar("T")


def read_run(path: Path | str) -> dict[str, dict[str, float]]:
    """Query id -> document id -> score.

    Raises: ValueError that names file and line for a line of another form, a
      score that is no number or NaN, a document listed twice, and bytes that are
      not UTF-8; or an empty file.
    """
    run: dict[str, dict[str, float]] = {}
    for where, (query, _, document, _, text, _) in _lines(path, "query Q0 document rank score tag"):
        score = _number(where, text, float, "score")
        if isnan(score):
            raise ValueError(f"{where}: NaN is no score")
        _put(where, run.setdefault(query, {}), document, score)
    return run


def read_judgements(path: Path | str) -> dict[str, dict[str, int]]:
    """Query id -> document id -> grade.

    Raises: ValueError that names file and line for a line of another form, a
      grade that is no whole number, a document judged twice, and bytes that are
      not UTF-8; or an empty file.
    """
    judgements: dict[str, dict[str, int]] = {}
    for where, (query, _, document, text) in _lines(path, "query iteration document grade"):
        _put(where, judgements.setdefault(query, {}), document, _number(where, text, int, "grade"))
    return judgements


def write_run(path: Path | str, run: Run, tag: str) -> None:
    """Write a run, best first, ties in trec_eval's order; scores keep every digit.

    Raises: ValueError when an id or the tag is empty or has white space, which
      the format cannot hold, or a score is NaN.
    """
    _word("tag", tag)
    with atomic.file(path) as partial, partial.open("w", encoding="utf-8") as out:
        for query, found in run.items():
            for name, score in found.items():
                if isnan(score):
                    raise ValueError(f"query {query!r}: document {name!r} has NaN for a score")
            ordered = sorted(found.items(), key=lambda pair: (pair[1], pair[0]), reverse=True)
            for rank, (name, score) in enumerate(ordered, 1):
                out.write(f"{_word('query', query)} Q0 {_word('document', name)} {rank} {float(score)!r} {tag}\n")


def write_judgements(path: Path | str, judgements: Judgements) -> None:
    """Write judgements.  Raises: ValueError when an id is empty or has white space, which the format cannot hold."""
    with atomic.file(path) as partial, partial.open("w", encoding="utf-8") as out:
        for query, grades in judgements.items():
            for name, grade in grades.items():
                out.write(f"{_word('query', query)} 0 {_word('document', name)} {int(grade)}\n")


def _lines(path: Path | str, form: str) -> Iterator[tuple[str, list[str]]]:
    wanted, empty = len(form.split()), True
    with Path(path).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                fields = line.decode().split()
            except UnicodeDecodeError as error:
                raise ValueError(f"{path}, line {number}: not UTF-8, {error}") from error
            if not fields:
                continue
            if len(fields) != wanted:
                raise ValueError(f"{path}, line {number}: wanted {wanted} fields, {form!r}, got {len(fields)}")
            empty = False
            yield f"{path}, line {number}", fields
    if empty:
        raise ValueError(f"{path}: wanted lines of {form!r}, got none")


def _number(where: str, text: str, kind: Callable[[str], T], what: str) -> T:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{where}: {text!r} is no {what}") from None


def _put(where: str, into: dict[str, T], name: str, value: T) -> None:
    if name in into:
        raise ValueError(f"{where}: document {name!r} is there twice for its query")
    into[name] = value


def _word(what: str, text: str) -> str:
    if text.split() != [text]:
        raise ValueError(f"a TREC file cannot hold the {what} {text!r}: it needs one word without white space")
    return text
