"""Queries that say what they ask for: an instruction, some examples, the query, and a token that ends them.

For encoders that learnt to read instructions; one with causal attention has its vector at the last token.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from jaxemb.data.pairs import Pair
from jaxemb.data.tokenize import Tokenizer, pad
from jaxemb.types import Tokens

Counted = Literal["all", "query"]


def instruct(task: str, query: str, examples: Sequence[Pair] = ()) -> str:
    r"""The text of a prompt: a block a pair of the examples, then one that the answer is missing of.

    >>> print(instruct("Name the bird.", "It hoots.", [Pair("It sings.", "A lark.")]))
    Instruct: Name the bird.
    Query: It sings.
    Response: A lark.
    <BLANKLINE>
    Instruct: Name the bird.
    Query: It hoots.
    Response:
    """
    shown = (f"{_asked(task, one.query)}\nResponse: {one.document}\n\n" for one in examples)
    return f"{''.join(shown)}{_asked(task, query)}\nResponse:"


def _asked(task: str, query: str) -> str:
    return f"Instruct: {task}\nQuery: {query}"


def instructed(
    tokenizer: Tokenizer,
    task: str,
    queries: Sequence[str],
    examples: Sequence[Sequence[Pair]] = (),
    *,
    length: int,
    cut: bool = False,
    counted: Counted = "all",
) -> Tokens:
    """Prompts of queries as tokens, all with the token that ends a text.

    What is too long loses its examples, the last first, each as a whole.

    Args:
      tokenizer: without a limit of its own, which could cut what has to stay.  One that adds special tokens ends every
        row with its `eos_token`, or its `sep_token` where it has no other, whether its own file does so or not.
      task: what is asked for, in words.
      examples: of each query some pairs, perhaps none; by default none of all.
      length: tokens of a row, padding included.
      cut: whether a query that is too long without any example loses its end; else it is refused.
      counted: what pooling counts: all tokens, or the query's alone, which see the rest where there is attention.
    Raises: ValueError for a prompt that does not fit; an example that is the query itself; an empty query; another
      number of examples than of queries; a tokenizer with a limit, or without a token that ends a text.
    Source: Wang et al. 2024, arXiv:2401.00368 (instructions); Li et al. 2024, arXiv:2409.15700 (examples).
    """
    _check(tokenizer, counted)
    given = [list(some) for some in examples] or [[] for _ in queries]
    if len(given) != len(queries):
        raise ValueError(f"instructed: wanted examples of each of {len(queries)} queries, got {len(given)}")
    for query, some in zip(queries, given, strict=True):
        if not query.strip():
            raise ValueError(f"instructed: wanted a query that is not empty, got {query!r}")
        if any(one.query == query for one in some):
            raise ValueError(f"instructed: an example is the query itself, {query[:60]!r}")
    whole = _rows(tokenizer, [instruct(task, query, some) for query, some in zip(queries, given, strict=True)])
    asked, rows = list(queries), list(whole)
    for place, row in enumerate(whole):
        if len(row) > length:
            given[place], asked[place] = _fitting(tokenizer, task, asked[place], given[place], length, cut=cut)
            (rows[place],) = _rows(tokenizer, [instruct(task, asked[place], given[place])])
    tokens = pad(rows, length)
    if counted == "all":
        return tokens
    chosen = np.zeros(tokens.ids.shape, np.int32)
    for place, (query, some) in enumerate(zip(asked, given, strict=True)):
        chosen[place, _span(tokenizer, task, query, some)] = 1
    return tokens._replace(counted=chosen)


def ended(tokenizer: Tokenizer, texts: Sequence[str], *, length: int) -> Tokens:
    """Texts as tokens, with the token that ends a text behind what is left of each in `length`.

    Args, Raises: as for `instructed`; ValueError that names the first text without a token of its own.
    """
    _check(tokenizer, "all")
    rows, nothing = _rows(tokenizer, texts), len(_rows(tokenizer, [""])[0])
    for place, row in enumerate(rows):
        if len(row) <= nothing:
            raise ValueError(f"ended: wanted texts with a token, text {place} is {texts[place][:60]!r}")
    if length <= nothing:
        raise ValueError(f"ended: wanted a length above {nothing} (the special tokens), got {length}")
    if not tokenizer.add_special:
        return pad([row[:length] for row in rows], length)
    return pad([row if len(row) <= length else np.append(row[: length - 1], row[-1]) for row in rows], length)


def shots(pool: Sequence[Pair], pair: Pair, count: int, draw: np.random.Generator) -> list[Pair]:
    """So many examples of a pool, of which none has the pair's query or its document.

    Raises: ValueError when there are not so many.
    """
    may = [one for one in pool if one.query != pair.query and one.document != pair.document]
    if not 0 <= count <= len(may):
        raise ValueError(f"shots: wanted {count} examples, {len(may)} are there for {pair.query[:60]!r}")
    return [may[place] for place in draw.permutation(len(may))[:count]]


def _check(tokenizer: Tokenizer, counted: str) -> None:
    if tokenizer.max_length is not None:
        raise ValueError(
            f"wanted a tokenizer without a limit, got one of {tokenizer.max_length} tokens; "
            "`tokenizer.limited(None, add_special=...)` makes one"
        )
    if counted not in ("all", "query"):
        raise ValueError(f"counted must be all or query, got {counted!r}")


def _end(tokenizer: Tokenizer) -> int:
    token = tokenizer.special.get("eos_token", tokenizer.special.get("sep_token"))
    if token is None or token not in tokenizer.vocabulary:
        raise ValueError(f"wanted a tokenizer with an eos_token or a sep_token, got {sorted(tokenizer.special)}")
    return tokenizer.vocabulary[token]


def _rows(tokenizer: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """Ids, with the last token behind them where there are special tokens."""
    rows = tokenizer.ids(texts).rows
    if not tokenizer.add_special:
        return rows
    end = _end(tokenizer)
    return [row if len(row) and row[-1] == end else np.append(row, np.int32(end)) for row in rows]


def _fitting(
    tokenizer: Tokenizer, task: str, query: str, examples: list[Pair], length: int, *, cut: bool
) -> tuple[list[Pair], str]:
    """The examples and the query that are left of a prompt which is too long."""

    def size(query: str, count: int) -> int:
        return len(_rows(tokenizer, [instruct(task, query, examples[:count])])[0])

    for count in range(len(examples) - 1, -1, -1):
        if size(query, count) <= length:
            return examples[:count], query
    if not cut:
        raise ValueError(
            f"instructed: the prompt of {query[:60]!r} has {size(query, 0)} tokens without any example, "
            f"wanted {length} at most"
        )
    low, high = 0, len(query)  # how many characters fit, and how many do not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(query[:middle], 0) <= length else (low, middle)
    left = query[:low].rstrip()
    if not left or size(left, 0) > length:
        raise ValueError(
            f"instructed: the instruction {task[:60]!r} leaves no room for a query in {length} tokens, "
            f"it has {size('', 0)} alone"
        )
    return [], left


def _span(tokenizer: Tokenizer, task: str, query: str, examples: Sequence[Pair]) -> slice:
    """Where in a prompt its query stands."""
    before = instruct(task, "", examples).removesuffix("\nResponse:").rstrip()
    behind = int(tokenizer.add_special)  # the token at the end
    first, last = (len(row) - behind for row in _rows(tokenizer, [before, f"{before} {query}"]))
    return slice(first, last)
