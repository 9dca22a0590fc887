"""Documents of earlier steps as further negatives: a first-in, first-out memory of their vectors.

A queue is an entry of the batch, and the next one stands among the metrics: an objective stays a pure function, and
`fit(carried=...)` passes it from step to step and keeps it in checkpoints.  It is no leaf of params, for nothing of it
has a gradient, a norm or a decay, and its keys are whole numbers.

Every device has the whole queue: what moves between devices in a step are the new rows, not the old ones.

Source: Wang et al. 2020, arXiv:1912.06798 (cross-batch memory); He et al. 2020, arXiv:1911.05722 (the queue of MoCo).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, DTypeLike, Float, Int

from jaxemb.losses.form import form_of, with_form
from jaxemb.similarity import everywhere
from jaxemb.train.objective import NEGATIVES, Term, check_entries, check_terms, objective, vectors_of
from jaxemb.types import Batch, Encoder, Loss, Objective, Params

CARRIED = "queue"
"""The entry of batches and metrics that holds the queues."""


class Queue(NamedTuple):
    """The last `m` rows that were pushed; a ring, so that nothing moves.

    vectors: of the rows; zeros where there is none yet.
    keys: what the rows are, as `losses.mask_duplicates` reads it; -1 where there is none yet.
    next: the place of the next row: that of the oldest, once the ring is full.
    filled: how many rows there are.
    """

    vectors: Float[Array, "m d"]
    keys: Int[Array, "m k"]
    next: Int[Array, ""]
    filled: Int[Array, ""]


def empty_queue(size: int, dim: int, *, keys: int = 1, dtype: DTypeLike = jnp.float32) -> Queue:
    """A queue for `size` vectors of `dim` numbers, with nothing in it, which adds nothing to a loss.

    Args:
      keys: how many a row has.
    """
    if size < 1 or dim < 1 or keys < 1:
        raise ValueError(f"empty_queue: wanted 1 or more of each, got size={size}, dim={dim}, keys={keys}")
    nothing = jnp.zeros((), jnp.int32)
    return Queue(jnp.zeros((size, dim), dtype), jnp.full((size, keys), -1, jnp.int32), nothing, nothing)


def push(queue: Queue, vectors: Float[Array, "n d"], keys: Int[Array, "n *k"], *, axis: str | None = None) -> Queue:
    """The queue with these rows in the place of its oldest; of more than it holds, the last.  No gradient passes.

    >>> queue = push(empty_queue(3, 1), jnp.array([[1.0], [2.0]]), jnp.array([7, 8]))
    >>> queue = push(queue, jnp.array([[3.0], [4.0]]), jnp.array([9, 5]))
    >>> print(queue.vectors[:, 0], queue.keys[:, 0], queue.next)
    [4. 2. 3.] [5 8 9] 1

    Args:
      keys: whole numbers a row, as many as the queue has.
      axis: inside `shard_map` or `pmap`, the axis over which each device brings rows of its own: all are pushed, in the
        order of the devices, so that queues that were equal stay so.
    Raises: ValueError for rows of another size, or keys that do not fit.
    """
    keys = keys if keys.ndim == 2 else keys[:, None]
    if vectors.shape[1] != queue.vectors.shape[1] or keys.shape != (len(vectors), queue.keys.shape[1]):
        raise ValueError(
            f"push: wanted vectors [n, {queue.vectors.shape[1]}] and keys [n, {queue.keys.shape[1]}], "
            f"got {list(vectors.shape)} and {list(keys.shape)}"
        )
    if axis is not None:
        vectors, keys = (lax.all_gather(rows, axis, tiled=True) for rows in (vectors, keys))
    vectors, keys = lax.stop_gradient(everywhere(vectors)), everywhere(keys)
    size, n = queue.vectors.shape[0], vectors.shape[0]
    new = min(size, n)
    places = (queue.next + jnp.arange(new, dtype=jnp.int32)) % size
    return Queue(
        queue.vectors.at[places].set(vectors[n - new :].astype(queue.vectors.dtype), unique_indices=True),
        queue.keys.at[places].set(keys[n - new :].astype(queue.keys.dtype), unique_indices=True),
        (queue.next + new) % size,
        jnp.minimum(queue.filled + new, size),
    )


def with_queue(loss: Loss, queue: Queue) -> Loss:
    """The same loss with the rows of a queue after the documents, as negatives without a gradient.

    Empty places do not count.  The result takes `document_key` as `mask_duplicates` does, so that no document that
    comes round again is a negative of its own query: the loss has to be one of `mask_duplicates`.

    Functions of losses that read vectors or scores go inside, as `with_queue(matryoshka(...), queue)`; those that cut
    or spread a batch go outside, as `across_devices(with_queue(...), "data")` and `tiled(with_queue(...))`.
    Raises: ValueError for a loss that cannot have further documents, with the reason.
    """
    form = form_of(loss)
    if form.reads != "documents" or "ignore" not in form.matrices:
        raise ValueError("with_queue: the loss takes no further documents with an `ignore`, as info_nce does")
    if form.spread:
        raise ValueError(
            "with_queue: every device has the whole queue; spread it last: across_devices(with_queue(...))"
        )
    if "document_key" not in form.documents:
        raise ValueError(
            "with_queue: the loss takes no `document_key`, so that a document that comes round would be a negative "
            "of its own query; take mask_duplicates(loss)"
        )

    def longer(
        query: Float[Array, "b d"],
        document: Float[Array, "n e"],
        *,
        document_key: Int[Array, "n *k"],
        ignore: Bool[Array, "b n"] | None = None,
        **kwargs: Any,
    ) -> Float[Array, " b"]:
        if document.shape[1] != queue.vectors.shape[1]:
            raise ValueError(
                f"with_queue: {document.shape[1]} dimensions in documents, {queue.vectors.shape[1]} in the queue; "
                "a function that cuts vectors goes inside: with_queue(matryoshka(...))"
            )
        odd = [name for name, value in kwargs.items() if name in form.matrices | form.documents and value is not None]
        if odd:
            raise ValueError(f"with_queue: {', '.join(odd)} would need a value for each row of the queue, and has none")
        empty = jnp.arange(queue.vectors.shape[0], dtype=jnp.int32) >= queue.filled
        (b, n), m = (query.shape[0], document.shape[0]), len(empty)
        # Padded and not concatenated, so that the rows of an `ignore` stay where they are on a mesh.
        known = jnp.zeros((b, n + m), bool) if ignore is None else jnp.pad(ignore, ((0, 0), (0, m)))
        keys = everywhere(document_key if document_key.ndim == 2 else document_key[:, None])
        past = lax.stop_gradient(queue.vectors).astype(document.dtype)
        return loss(
            query,
            jnp.concatenate([everywhere(document), past]),
            document_key=jnp.concatenate([keys, queue.keys.astype(keys.dtype)]),
            ignore=known | jnp.pad(empty, (n, 0))[None, :],
            **kwargs,
        )

    return with_form(longer, form._replace(compares=False))


def _same(loss: Loss) -> Loss:
    return loss


def queued(encoder: Encoder, terms: Mapping[str, Term], *, outer: Callable[[Loss], Loss] = _same) -> Objective:
    """As `objective`, with the documents of earlier steps as further negatives.

    A batch has an entry `queue`, from names of its other entries to a `Queue` each, and for each of those the keys of
    its rows, as `document_key` for `document`.  Terms whose right side has a queue are compared with its rows, too, and
    all rows of the batch are pushed for the next step, whose queues are the metric `queue`.  `negatives` counts rows of
    the queue, and takes out none for their keys.

    Args:
      outer: put around each loss with its queue, as `tiled`.
    """
    check_terms("queued", terms)

    def weighed(params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Any]]:
        queues = _queues(terms, batch)
        names = dict.fromkeys(name for term in terms.values() for name in (term.left, term.right))
        vectors = {name: vectors_of(encoder, params, batch[name]) for name in names}
        longer = {
            name: term._replace(
                loss=partial(outer(with_queue(term.loss, queues[term.right])), document_key=batch[f"{term.right}_key"])
            )
            if term.right in queues
            else term
            for name, term in terms.items()
        }
        each, shown = objective(encoder, longer)(params, {**batch, **vectors})
        following = {name: push(queue, vectors[name], batch[f"{name}_key"]) for name, queue in queues.items()}
        met = [
            vectors[term.right].shape[0] - 1 + queues[term.right].filled.astype(jnp.float32)
            for term in terms.values()
            if term.right in queues
        ]
        return each, {**shown, NEGATIVES: met[-1], CARRIED: following}

    return weighed


def _queues(terms: Mapping[str, Term], batch: Batch) -> Mapping[str, Queue]:
    """The queues of a batch that has all that its terms read."""
    check_entries("queued", terms, batch)
    queues: Mapping[str, Queue] = batch.get(CARRIED, {})
    right = {term.right for term in terms.values()}
    if not queues or not queues.keys() <= right:
        raise ValueError(f"queued: wanted queues of {sorted(right)}, the right sides of terms, got {sorted(queues)}")
    if missing := [f"{name}_key" for name in queues if f"{name}_key" not in batch]:
        raise ValueError(f"queued: wanted the batch to have {', '.join(missing)}, got {sorted(batch)}")
    return queues
