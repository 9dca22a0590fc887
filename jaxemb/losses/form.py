"""What one row of a loss depends on: what a function of losses has to know to cut, gather or turn a batch."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

import jax.numpy as jnp
from jaxtyping import Array

from jaxemb.similarity import cosine
from jaxemb.types import Loss

Reads = Literal["documents", "pairs", "everyone", "batch", "layers"]
Role = Literal["row", "matrix", "document", "value"]


class Form(NamedTuple):
    """What a loss reads, and what its keyword arrays are.

    reads: what row `i` of the result depends on, beside query `i`:
      - `documents`: all documents, of which the `i`-th is its own and the others may stand in any order;
      - `pairs`: document `i` alone;
      - `everyone`: all documents and all queries; the latter are the keyword `queries`, a row's own at its place, by
        default the queries whose losses are asked for;
      - `batch`: all rows at once, so that no row has a loss of its own;
      - `layers`: vectors of several layers, `[l, b, d]`, which no function of losses cuts, gathers or turns.
    matrices: keyword arrays `[b, n]`, a row a query and a column a document.
    documents: keyword arrays `[n, ...]`, a row a document.  All other arrays have a row a query.
    compares: whether it takes `similarity`, a function from queries and documents to scores `[b, n]`.
    cuts: whether what `similarity` gets are parts of the vectors, or made from them.
    spread: whether its documents are those of all devices, of which only this one's are given.
    values: keyword arrays that are the same for every row, as weights of classes.
    partners: a keyword array of queries and one of documents that change places on the way back.
    one_sided: what changes one side of the loss alone, so that there is no way back; empty where nothing does.
    similarity: what it compares by where nothing is passed: the cosine, or what a `functools.partial` of it has bound.
    """

    reads: Reads = "documents"
    matrices: frozenset[str] = frozenset()
    documents: frozenset[str] = frozenset()
    compares: bool = False
    cuts: bool = False
    spread: bool = False
    values: frozenset[str] = frozenset()
    partners: tuple[tuple[str, str], ...] = ()
    one_sided: str = ""
    similarity: Callable[[Array, Array], Array] = cosine


_Function = TypeVar("_Function", bound=Callable[..., Any])


def declared(
    reads: Reads = "documents",
    *,
    matrices: tuple[str, ...] = (),
    documents: tuple[str, ...] = (),
    compares: bool = False,
    values: tuple[str, ...] = (),
) -> Callable[[_Function], _Function]:
    """Say what the decorated loss reads; see `Form`."""
    form = Form(reads, frozenset(matrices), frozenset(documents), compares, values=frozenset(values))
    return lambda loss: with_form(loss, form)


def with_form(loss: _Function, form: Form) -> _Function:
    """The same function, which says that it is of `form`."""
    loss.form = form  # type: ignore[attr-defined]
    return loss


def form_of(loss: Loss) -> Form:
    """What a loss reads: what it, or what it is a `functools.partial` of, was declared to, else all documents.

    Raises: ValueError that names an array with a row a query or document which a `functools.partial` has bound.
    """
    bound: dict[str, Any] = {}
    while not hasattr(loss, "form") and hasattr(loss, "func"):
        bound = {**getattr(loss, "keywords", {}), **bound}
        loss = loss.func
    form = getattr(loss, "form", Form())
    if rows := [name for name, value in bound.items() if _has_rows(form, name, value)]:
        raise ValueError(
            f"{', '.join(rows)}: bound by functools.partial, where it stays whole when the batch is cut, gathered or "
            "turned; pass it in the call, or declare it among `values` if it is the same for every row"
        )
    return form._replace(similarity=bound["similarity"]) if "similarity" in bound else form


def form_for(name: str, loss: Loss) -> Form:
    """What a loss reads that a function of losses, of this name, is given.

    Raises: ValueError for a loss of several layers, and as `form_of`.
    """
    form = form_of(loss)
    if form.reads == "layers":
        raise ValueError(f"{name}: this loss takes vectors of several layers; `layers` comes last, around all else")
    return form


def roles(form: Form, kwargs: Mapping[str, Any], b: int, n: int, *, devices: int | None = 1) -> dict[str, Role]:
    """What each keyword is, for `b` queries and `n` documents on this device.

    Args:
      devices: how many devices' documents the columns of a matrix are; None where it may be any number.
    Raises: ValueError that names the array whose rows or columns fit neither queries nor documents.
    """
    return {name: _role(form, name, value, b, n, devices) for name, value in kwargs.items()}


def _role(form: Form, name: str, value: Any, b: int, n: int, devices: int | None) -> Role:
    if not _has_rows(form, name, value):
        return "value"
    shape = jnp.shape(value)
    if name in form.documents:
        if shape[0] % n or (devices is not None and shape[0] != n):
            raise ValueError(f"{name} has {shape[0]} rows, wanted one a document, {n}")
        return "document"
    if shape[0] != b:
        raise ValueError(f"{name} has {shape[0]} rows, wanted one a query, {b}")
    there = n if devices is None else n * devices
    # What a loss of all documents does not declare is known by its shape.
    guessed = form.reads == "documents" and not form.matrices and not form.documents
    undeclared = guessed and len(shape) == 2 and shape[1] == there
    if name in form.matrices or undeclared:
        if shape[1] % there or (devices is not None and shape[1] != there):
            raise ValueError(f"{name} has {shape[1]} columns, wanted one a document, {there}")
        return "matrix"
    return "row"


def _has_rows(form: Form, name: str, value: Any) -> bool:
    return name not in form.values and hasattr(value, "shape") and not callable(value) and value.ndim > 0


def queries_of(kwargs: Mapping[str, Any], query: Array) -> Array:
    """Everyone's queries, as a loss of `everyone` is given them: by default those whose losses are asked for."""
    given = kwargs.get("queries")
    return query if given is None else given


def turned(value: Array, by: Array | int, n: int, axis: int) -> Array:
    """Roll every block of `n` along `axis`: with the documents of several devices, each device's own."""
    shape = value.shape
    blocks = value.reshape(*shape[:axis], shape[axis] // n, n, *shape[axis + 1 :])
    return jnp.roll(blocks, by, axis=axis + 1).reshape(shape)
