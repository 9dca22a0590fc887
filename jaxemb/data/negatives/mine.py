"""Pairs and a search to pairs with hard negatives, block by block, in a file."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt64

from jaxemb import atomic, progress
from jaxemb.data.negatives.candidates import Candidates, Search
from jaxemb.data.negatives.look import Looked, Looking
from jaxemb.data.negatives.report import Count, Mined
from jaxemb.data.negatives.rules import Pick, Rule, top
from jaxemb.data.pairs import Pair

Teacher = Callable[[Sequence[tuple[str, str]]], Any]
"""Pairs of a query and a document to a score each, larger is closer, as a cross-encoder gives."""


def mine(
    pairs: Sequence[Pair],
    documents: Sequence[str],
    search: Search,
    path: Path | str,
    *,
    negatives: int = 5,
    ranks: tuple[int, int] = (0, 100),
    deeper: int | None = None,
    rules: Sequence[Rule] = (),
    pick: Pick = top,
    short: Literal["fill", "leave", "drop"] = "fill",
    seed: int = 0,
    queries: Sequence[Any] | np.ndarray | None = None,
    answers: Sequence[Sequence[int]] | None = None,
    teacher: Teacher | None = None,
    positive: Sequence[float] | np.ndarray | None = None,
    block: int = 256,
    what: str | None = "mine",
) -> Mined:
    """Find hard negatives for pairs, and write all to a file that `read_pairs` reads.

    The candidates of a query are what `search` finds, without documents that answer it and without a second copy of a
    text.  Of those at the wanted ranks the ones stay that every rule keeps, and `pick` takes some.  A document answers
    a query if its text is that of the document of a pair with this query, or if `answers` says so.

    Rules compare candidates with the pair's own document: by the teacher's scores if there is one, else by those of the
    search, where the own document's is known from `positive`, or if the search found it.  If it is not known, nothing
    can be told to be worse, and rules with a margin drop all.

    Memory: a block of queries with their candidates, and 8 bytes a document, 32 a pair and 4 a negative.

    Args:
      pairs: negatives that they have already are not kept.
      documents: what `search` gives rows of.  No text may be empty.
      search: from queries and `k` to rows and scores, best first; `search` of an index for vectors, or any other.
      path: a `.jsonl` file, which appears whole or not at all; one that is there is replaced.
      negatives: how many for each pair.
      ranks: the first, from 0, and the one after the last; answers are not counted.  `search` is asked for as many more
        as answer any query, so that copies of a text among the documents may cost the last ranks.
      deeper: where the rules leave too few at these ranks, the next that they keep are taken, up to this rank.
      rules: all must hold; `absolute_margin`, `relative_margin`, `at_most`.
      pick: which candidates are taken, best first: by the teacher's scores, without one by rank.  `top` or `uniform`.
      short: what becomes of a pair with too few: `fill` adds random documents that the search did not find and that do
        not answer the query, as far as there are any; `leave` writes what there is, perhaps nothing; `drop` leaves the
        pair out.
      seed: of all that is drawn; each pair draws for itself, so that blocks of another size change nothing.
      queries: what `search` is given, a row a pair, as vectors; by default the texts of the queries.
      answers: rows of documents that answer each pair's query, beside those with its text, as judged.
      teacher: scores of texts.
      positive: the score of every pair's own document in the search.
      block: pairs at a time.
      what: the name of the progress bar; None shows none.
    Raises: ValueError for numbers out of range, sequences that do not fit, an empty text, a search or teacher that
      gives something else, a rule that cannot judge a pair (which is named), and when none is left for any pair.
    Source: Xiong et al. 2020, arXiv:2007.00808 (ANCE); Moreira et al. 2024, arXiv:2407.15831 (margins).
    """
    path = Path(path)
    _check_settings(path, negatives, ranks, short, block)
    end = ranks[1] if deeper is None else deeper
    if end < ranks[1]:
        raise ValueError(f"mine: wanted deeper to be {ranks[1]} or more, the end of the ranks, got {deeper}")
    _check_sizes(len(pairs), len(documents), ranks[0], {"queries": queries, "answers": answers, "positive": positive})
    if teacher is not None and positive is not None:
        raise ValueError("mine: wanted a teacher or the search's positive scores, got both")
    reached = (ranks[0], end)
    look = Looking(pairs, documents, search, queries=queries, judged=answers, positive=positive, ranks=reached)
    count = Count(ranks=np.zeros(end, np.int64))
    with atomic.file(path) as partial:
        with (
            partial.open("w", encoding="utf-8", newline="\n") as out,
            progress.bar(what or "", len(pairs), shown=what is not None) as advance,
        ):
            for start in range(0, len(pairs), block):
                looked = list(look(start, min(start + block, len(pairs)), count))
                for one in _taught(teacher, looked, documents) if teacher is not None else looked:
                    draw = np.random.default_rng([seed, one.row])
                    chosen = _chosen(one, rules, pick, negatives, ranks[1], draw, count.dropped)
                    filled = _fill(one, chosen, negatives, look.corpus, draw) if short == "fill" else []
                    if count.take(chosen, filled, wanted=negatives, drop=short == "drop"):
                        texts = [documents[row] for row in (*chosen.rows.tolist(), *filled)]
                        line = {"query": one.pair.query, "document": one.pair.document, "negatives": texts}
                        out.write(json.dumps(line, ensure_ascii=False) + "\n")
                advance(len(looked), f"{len(count.scores)} negatives, {count.filled} random")
        if not count.scores:
            raise ValueError(
                f"mine: no negative is left for any of {len(pairs)} pairs; candidates were dropped: "
                f"{dict(+count.dropped)}"
            )
    if count.short and what is not None:
        progress.say(
            f"{what}: {count.short} of {len(pairs)} pairs found fewer than {negatives} negatives; "
            f"{count.filled} were drawn at random"
        )
    return count.report(len(pairs))


def _check_settings(path: Path, negatives: int, ranks: tuple[int, int], short: str, block: int) -> None:
    if path.suffix != ".jsonl":
        raise ValueError(f"mine: wanted a file ending in .jsonl, got {path}")
    if negatives < 1 or block < 1 or ranks[0] < 0 or ranks[1] - ranks[0] < negatives:
        raise ValueError(
            "mine: wanted 1 or more negatives, 1 or more pairs a block, and ranks enough for the negatives, got "
            f"negatives={negatives}, block={block}, ranks={ranks}"
        )
    if short not in ("fill", "leave", "drop"):
        raise ValueError(f"mine: short must be fill, leave or drop, got {short!r}")


def _check_sizes(pairs: int, documents: int, first: int, given: dict[str, Any]) -> None:
    if not pairs or not documents:
        raise ValueError(f"mine: wanted pairs and documents, got {pairs} and {documents}")
    if first >= documents:
        raise ValueError(f"mine: wanted ranks that begin among the {documents} documents, got {first}")
    for name, values in given.items():
        if values is not None and len(values) != pairs:
            raise ValueError(f"mine: wanted {name} for each of the {pairs} pairs, got {len(values)}")
    positive = given["positive"]
    if positive is not None and not (finite := np.isfinite(np.asarray(positive, float))).all():
        raise ValueError(f"mine: wanted finite positive scores, got {positive[int(np.argmin(finite))]}")
    if given["answers"] is not None:
        for pair, rows in enumerate(given["answers"]):
            if len(rows) and not 0 <= min(rows) <= max(rows) < documents:
                raise ValueError(f"mine: answers of pair {pair} must be rows of the {documents} documents, got {rows}")


def _taught(teacher: Teacher, looked: Sequence[Looked], documents: Sequence[str]) -> Iterator[Looked]:
    """The same with a teacher's scores, candidates in their order."""
    texts = [
        (one.pair.query, text)
        for one in looked
        for text in (one.pair.document, *(documents[row] for row in one.found.rows.tolist()))
    ]
    scores = np.asarray(teacher(texts))
    if scores.shape != (len(texts),):
        raise ValueError(f"teacher: wanted a score for each of {len(texts)} pairs, got {list(scores.shape)}")
    if not (finite := np.isfinite(scores)).all():
        query, text = texts[int(np.argmin(finite))]
        raise ValueError(f"teacher: wanted finite scores, got {scores[~finite][0]} for {query[:60]!r}, {text[:60]!r}")
    start = 0
    for one in looked:
        end = start + 1 + len(one.found.rows)
        found = one.found._replace(scores=scores[start + 1 : end].astype(np.float64))
        order = np.argsort(-found.scores, kind="stable")
        yield one._replace(positive=float(scores[start]), found=found.at(order))
        start = end


def _chosen(
    one: Looked,
    rules: Sequence[Rule],
    pick: Pick,
    wanted: int,
    end: int,
    draw: np.random.Generator,
    dropped: Counter[str],
) -> Candidates:
    """What rules keep and `pick` takes of the ranks before `end`; then, as far as needed, the first of those behind."""
    left = one.found
    for rule in rules:
        if rule.adapts and np.isnan(one.positive):
            reason, keeps = "own document not found", np.zeros(len(left.rows), bool)
        else:
            try:
                reason, keeps = rule.name, rule.keeps(one.positive, left.scores)
            except ValueError as problem:
                raise ValueError(f"mine: pair {one.row}, {one.pair.query[:60]!r}: {problem}") from None
        dropped[reason] += len(left.rows) - int(keeps.sum())
        left = left.at(keeps)
    near, far = left.at(left.ranks < end), left.at(left.ranks >= end)
    picked = near.at(pick(draw, one.positive, near.scores, min(wanted, len(near.rows))))
    more = far.at(np.arange(min(wanted - len(picked.rows), len(far.rows))))
    taken = Candidates(*(np.concatenate(parts) for parts in zip(picked, more, strict=True)))
    dropped["not needed"] += len(left.rows) - len(taken.rows)
    return taken


def _fill(
    one: Looked, chosen: Candidates, wanted: int, corpus: UInt64[np.ndarray, " m"], draw: np.random.Generator
) -> list[int]:
    """Random rows for those that are missing, no two with one text; fewer only where there are no more."""
    missing, taken = wanted - len(chosen.rows), set(one.barred.tolist())
    found: list[int] = []

    def add(rows: np.ndarray) -> None:
        for row in rows.tolist():
            if len(found) < missing and int(corpus[row]) not in taken:
                found.append(row)
                taken.add(int(corpus[row]))

    if missing > 0:
        add(draw.integers(len(corpus), size=4 * missing))
    if len(found) < missing:  # most documents are barred: then there are few, or a draw was unlucky
        add(draw.permutation(len(corpus)))
    return found
