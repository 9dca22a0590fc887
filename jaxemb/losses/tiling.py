"""Losses without a matrix of all scores: some queries at a time, and again for the gradient."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb.losses.form import form_for, queries_of, roles, turned, with_form
from jaxemb.similarity import beside, cosine, dot, everywhere, unit
from jaxemb.types import Loss

SCORES = 2**25
"""Scores that a tile of more than `FEWEST` rows has at most: 128 MiB of float32, of which a loss needs some copies."""
FEWEST, MOST = 64, 1024
"""Queries at a time: enough that products run at their full speed, few enough that scores stay small."""


def tiled(loss: Loss, rows: int | None = None) -> Loss:
    """The same loss and gradient with the scores of some queries at a time, instead of all of them.

    Memory beyond the vectors and their gradients is that of `loss` for these and all documents.  What a row
    needs for its gradient is computed again, at the price of one product of three.  Keyword arrays `[b, n]` are as
    large as the scores: give keys of documents (`mask_duplicates`) instead of masks.

    On a mesh, tile what a device has: `shard_map` of `across_devices(tiled(loss))`, or of `ring(tiled(loss))`.  Under
    `jit` alone the tiles of all rows run on every device.

    Args:
      loss: any whose rows do not depend on each other.
      rows: queries at a time, by default as many as have `SCORES` scores; what is left over is one smaller tile.
    Raises: ValueError for a loss that reads the batch at once, or fewer rows than one.
    """
    form = form_for("tiled", loss)
    if form.reads == "batch":
        raise ValueError(
            "tiled: this loss has no rows of its own, it reads the batch at once; it cannot be cut by rows"
        )
    if rows is not None and rows < 1:
        raise ValueError(f"tiled: wanted one row at a time or more, got {rows}")

    def cut(query: Float[Array, "b d"], document: Float[Array, "n e"], **kwargs: Any) -> Float[Array, " b"]:
        b, n = query.shape[0], document.shape[0]
        if b <= (at_once := _rows(n) if rows is None else rows):
            return loss(query, document, **kwargs)
        given_rows = query[:, 0]
        query, document = everywhere(query), everywhere(document)
        queries = queries_of(kwargs, query) if form.reads == "everyone" else None
        if form.compares and not form.cuts and kwargs.get("similarity", form.similarity) is cosine:
            # Scaled once and not in every tile.
            query, document, kwargs["similarity"] = unit(query), unit(document), dot
            queries = None if queries is None else unit(queries)
        kwargs = {name: value for name, value in kwargs.items() if name != "queries"}
        roled = roles(form, kwargs, b, n, devices=None)
        kwargs |= {name: everywhere(kwargs[name]) for name, role in roled.items() if role != "value"}
        by_row = {name: kwargs[name] for name, role in roled.items() if role in ("row", "matrix")}

        def tile(start: Array, mine: Array, more: dict[str, Array]) -> Array:
            given = {**kwargs, **more}
            for name, role in roled.items():  # own documents first, as a loss takes them
                if role in ("matrix", "document"):
                    given[name] = turned(given[name], -start, n, axis=1 if role == "matrix" else 0)
            if queries is not None:
                given["queries"] = jnp.roll(queries, -start, axis=0)
            return loss(mine, jnp.roll(document, -start, axis=0), **given)

        again = jax.checkpoint(tile)
        whole = b // at_once * at_once

        def stacked(value: Array) -> Array:
            return value[:whole].reshape(-1, at_once, *value.shape[1:])

        starts = jnp.arange(0, whole, at_once)
        tiles = jax.lax.map(lambda one: again(*one), (starts, stacked(query), jax.tree.map(stacked, by_row)))
        parts = [tiles.reshape(whole)]
        if whole < b:
            rest = {name: value[whole:] for name, value in by_row.items()}
            parts.append(again(jnp.asarray(whole), query[whole:], rest))
        return beside(jnp.concatenate(parts), given_rows)

    return with_form(cut, form)


def _rows(n: int) -> int:
    """A power of two, because products like it."""
    return min(MOST, max(FEWEST, 2 ** ((SCORES // n).bit_length() - 1)))
