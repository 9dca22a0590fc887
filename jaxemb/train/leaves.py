"""Which leaves of params: chosen by patterns of their paths, split off and joined again."""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import jax
import jax.numpy as jnp

from jaxemb.checkpoint import leaves
from jaxemb.types import Params

VECTORS = ("bias", "scale", "mean", "variance", "magnitude")
"""Names of leaves that are vectors, also where those of several layers are stacked to a matrix."""


def is_matrix(path: str, leaf: Any) -> bool:
    """Whether a leaf has inputs and outputs: no bias, no norm, no lone number."""
    return jnp.ndim(leaf) >= 2 and path.rpartition(".")[2] not in VECTORS


def matching(
    params: Params, patterns: Sequence[str], *, among: Callable[[str, Any], bool] = lambda path, leaf: True
) -> list[str]:
    """Dotted paths of the leaves that fit one of the patterns, in sorted order; `*` is anything, dots included.

    Args:
      among: (path, leaf) -> whether it may be chosen.
    Raises: ValueError that names a pattern which no such leaf fits, and what there is.

    >>> matching({"blocks": {"up": 1, "down": 2}, "head": 3}, ["blocks.*"])
    ['blocks.down', 'blocks.up']
    """
    paths = [path for path, leaf in leaves(params).items() if among(path, leaf)]
    for pattern in patterns:
        if not any(fnmatchcase(path, pattern) for path in paths):
            more = f" and {len(paths) - 12} more" if len(paths) > 12 else ""
            raise ValueError(f"pattern {pattern!r} fits no leaf that may be chosen; there is {paths[:12]}{more}")
    return [path for path in paths if any(fnmatchcase(path, pattern) for pattern in patterns)]


def split(params: Params, patterns: Sequence[str]) -> tuple[Params, Params]:
    """The leaves that fit none of the patterns, and those that fit one; `joined` is the inverse.

    Raises: ValueError that names a pattern which no leaf fits.

    >>> split({"table": 1, "head": {"kernel": 2, "bias": 3}}, ["table", "*.bias"])
    ({'head': {'kernel': 2}}, {'table': 1, 'head': {'bias': 3}})
    """
    chosen = set(matching(params, patterns))

    def part(tree: Mapping[str, Any], above: str, wanted: bool) -> Params:
        found: Params = {}
        for name, inner in tree.items():
            path = f"{above}{name}"
            if isinstance(inner, Mapping):
                found[name] = part(inner, f"{path}.", wanted)
            elif (path in chosen) == wanted:
                found[name] = inner
        return found

    return part(params, "", False), part(params, "", True)


def joined(one: Params, other: Params) -> Params:
    """Two parts of a tree as one.

    Raises: ValueError that names a leaf which both have.
    """
    both: Params = dict(one)
    for name, inner in other.items():
        if name not in both:
            both[name] = inner
        elif isinstance(inner, Mapping) and isinstance(both[name], Mapping):
            both[name] = joined(both[name], dict(inner))
        else:
            raise ValueError(f"joined: both parts have {name!r}")
    return both


def mapped(function: Callable[[str, Any], Any], params: Params) -> Params:
    """`function(dotted path, leaf)` of every leaf."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: function(".".join(str(step.key) for step in path), leaf), params
    )
