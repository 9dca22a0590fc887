"""A retrieval task: documents, queries, and which document answers which query."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What a retrieval system is measured on.

    name: with the revision of its data, as `python-code@1f0c2a9b73de`.
    split: which part of the data, as `test`.
    document_ids, documents: one id and one text a document, in the same order.
    query_ids, queries: one id and one text a query, in the same order.
    judgements: query id -> document id -> grade; 0 is judged and found irrelevant, larger is more relevant.  A query
      may have none.

    Raises: ValueError for an id given twice, an empty text, no query, or a judgement of something that is not there.

    >>> task = Task(name="toy@0", split="test", document_ids=["d"], documents=["a text"], query_ids=["q"],
    ...             queries=["a question"], judgements={"q": {"d": 1}})
    >>> task.judgements["q"]
    {'d': 1}
    """

    name: str
    split: str
    document_ids: list[str]
    documents: list[str]
    query_ids: list[str]
    queries: list[str]
    judgements: dict[str, dict[str, int]]

    def __post_init__(self) -> None:
        where = f"{self.name}, split {self.split!r}"
        if not self.queries:
            raise ValueError(f"{where}: a task needs one query or more, got none")
        _check_texts(where, "document", self.document_ids, self.documents)
        _check_texts(where, "query", self.query_ids, self.queries)
        documents, queries = set(self.document_ids), set(self.query_ids)
        _refuse(
            f"{where}: judgements name a query that is not in the task",
            (q for q in self.judgements if q not in queries),
        )
        _refuse(
            f"{where}: judgements name a document that is not in the task",
            (f"{d} (query {q})" for q, judged in self.judgements.items() for d in judged if d not in documents),
        )


def cap(task: Task, *, documents: int, queries: int) -> Task:
    """A smaller task of at most so many documents and queries, with every judged document of the queries it keeps.

    Queries and documents are drawn by the SHA-256 of their ids: the same everywhere, whatever their order, and not
    only those at the front.  What stays keeps its order.  Its size becomes part of its name, as
    `python-code@1f0c2a9b73de[2000d,500q]`; a task that is small enough comes back as it is.

    Raises: ValueError when the judged documents of the kept queries are more than `documents`.
    """
    if documents < 1 or queries < 1:
        raise ValueError(f"cap: wanted 1 document and 1 query or more, got {documents} and {queries}")
    if documents >= len(task.documents) and queries >= len(task.queries):
        return task
    kept_queries = set(_draw(task.query_ids, queries))
    judgements = {query: judged for query, judged in task.judgements.items() if query in kept_queries}
    judged_documents = {document for judged in judgements.values() for document in judged}
    if len(judged_documents) > documents:
        raise ValueError(
            f"cap: the {len(kept_queries)} kept queries have {len(judged_documents)} judged documents, "
            f"more than {documents}; allow more documents or fewer queries"
        )
    others = [document for document in task.document_ids if document not in judged_documents]
    kept_documents = judged_documents | set(_draw(others, documents - len(judged_documents)))
    document_ids, texts = _keep(task.document_ids, task.documents, kept_documents)
    query_ids, questions = _keep(task.query_ids, task.queries, kept_queries)
    return Task(
        name=f"{task.name}[{len(texts)}d,{len(questions)}q]",
        split=task.split,
        document_ids=document_ids,
        documents=texts,
        query_ids=query_ids,
        queries=questions,
        judgements=judgements,
    )


def _check_texts(where: str, kind: str, ids: Sequence[str], texts: Sequence[str]) -> None:
    if len(ids) != len(texts):
        raise ValueError(f"{where}: wanted one id for each {kind} text, got {len(ids)} ids and {len(texts)} texts")
    _refuse(f"{where}: {kind} id given twice", (i for i, times in Counter(ids).items() if times > 1))
    _refuse(f"{where}: {kind} without text", (i for i, text in zip(ids, texts, strict=True) if not text.strip()))


def _refuse(problem: str, culprits: Iterable[str]) -> None:
    found = list(culprits)
    if found:
        shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        raise ValueError(f"{problem}: {len(found)}, the first: {shown}")


def _draw(ids: Iterable[str], count: int) -> list[str]:
    return sorted(ids, key=lambda i: hashlib.sha256(i.encode()).digest())[:count]


def _keep(ids: Sequence[str], texts: Sequence[str], kept: set[str]) -> tuple[list[str], list[str]]:
    pairs = [(i, text) for i, text in zip(ids, texts, strict=True) if i in kept]
    return [i for i, _ in pairs], [text for _, text in pairs]
