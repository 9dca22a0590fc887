"""Tasks in the layout of BEIR: a folder with corpus.jsonl, queries.jsonl and qrels/<split>.tsv."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from jaxemb.data.task import Task


def read_beir(folder: Path | str, split: str = "test") -> Task:
    """The task in a BEIR folder.

    `corpus.jsonl` has the keys `_id`, `text` and perhaps `title`, `queries.jsonl` has `_id` and `text`;
    `qrels/<split>.tsv` has a header, then query id, document id and a whole grade, between tabs.  A document's text is
    its title, a space and its text, as BEIR's own models read it.  Of the queries, which all splits share, those with a
    judgement in this split are taken.  The task's name is the folder's and the first 12 digits of a SHA-256 over the
    three files.

    Raises: ValueError that names the file and the line; FileNotFoundError for a file that is not there.
    Source: Thakur et al. 2021, "BEIR", arXiv:2104.08663.
    """
    folder = Path(folder)
    corpus, queries, qrels = folder / "corpus.jsonl", folder / "queries.jsonl", folder / "qrels" / f"{split}.tsv"
    for path in (corpus, queries, qrels):
        if not path.is_file():
            raise FileNotFoundError(f"a BEIR folder needs corpus.jsonl, queries.jsonl and qrels/{split}.tsv: no {path}")
    judgements = _judgements(qrels)
    documents = [(line["_id"], f"{line['title']} {line['text']}".strip()) for line in _lines(corpus)]
    asked = [(line["_id"], line["text"]) for line in _lines(queries) if line["_id"] in judgements]
    return Task(
        name=f"{folder.resolve().name}@{_revision(corpus, queries, qrels)}",
        split=split,
        document_ids=[i for i, _ in documents],
        documents=[text for _, text in documents],
        query_ids=[i for i, _ in asked],
        queries=[text for _, text in asked],
        judgements=judgements,
    )


def _lines(path: Path) -> Iterator[dict[str, str]]:
    for number, line in _numbered(path):
        try:
            record = json.loads(line)
        except ValueError as problem:
            raise ValueError(f"{path}, line {number}: wanted one JSON object, got {line[:80]!r} ({problem})") from None
        if not isinstance(record, dict) or not {"_id", "text"} <= set(record):
            found = sorted(record) if isinstance(record, dict) else type(record).__name__
            raise ValueError(f"{path}, line {number}: wanted an object with the keys _id and text, got {found}")
        kept = {"_id": record["_id"], "title": record.get("title") or "", "text": record["text"]}
        for key, value in kept.items():
            if not isinstance(value, str):
                raise ValueError(f"{path}, line {number}: wanted a string as {key}, got {value!r}")
        yield kept


def _judgements(path: Path) -> dict[str, dict[str, int]]:
    judgements: dict[str, dict[str, int]] = {}
    for number, line in _numbered(path):
        fields = line.split("\t")
        if len(fields) != 3:
            raise ValueError(
                f"{path}, line {number}: wanted query id, document id and grade between tabs, got {line!r}"
            )
        query, document, grade = fields
        if number == 1:
            if grade.lstrip("+-").isdecimal():
                raise ValueError(
                    f"{path}, line 1: wanted a header (query-id, corpus-id, score), got a judgement: {line!r}"
                )
            continue
        try:
            value = int(grade)
        except ValueError:
            raise ValueError(f"{path}, line {number}: wanted a whole number as grade, got {grade!r}") from None
        judged = judgements.setdefault(query, {})
        if judged.setdefault(document, value) != value:
            raise ValueError(
                f"{path}, line {number}: for query {query!r} document {document!r} has the grades "
                f"{judged[document]} and {value}"
            )
    return judgements


def _numbered(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, from 1; blank ones are passed over."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as problem:
                raise ValueError(f"{path}, line {number}: wanted UTF-8 ({problem})") from None
            if text.strip():
                yield number, text


def _revision(*paths: Path) -> str:
    whole = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:12]
