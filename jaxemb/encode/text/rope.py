"""Rotary positions as configurations state them: a base, and perhaps a stretching for longer texts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from jaxemb.encode.layers import rotary

KINDS = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}
"""The stretchings there are, and what each is told beside the base."""


@dataclass(frozen=True, kw_only=True)
class Rope:
    """Rotary positions, by the names of Hugging Face's `rope_parameters`.

    rope_theta: the base; dimension `2 i` of `d` turns by `rope_theta ** (-2 i / d)` a place.
    rope_type: `default`; `linear`, every turn divided by `factor`; or `llama3`, only the slow ones.
    factor: how much longer texts may become.
    low_freq_factor, high_freq_factor: how many full turns within `original_max_position_embeddings` places make a
      dimension slow (below the first: divided by `factor`) or quick (above the second: left alone).
    """

    rope_theta: float = 10_000.0
    rope_type: str = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position_embeddings: int = 8192

    def turns(self, t: int, size: int) -> tuple[Float[Array, "t r"], Float[Array, "t r"]]:
        """Cosines and sines of places 0..t-1 for heads of `size` dimensions; `r = size / 2`."""
        return rotary(t, size, self.rope_theta, stretched=self.stretched)

    def stretched(self, frequency: Float[np.ndarray, " r"]) -> Float[np.ndarray, " r"]:
        """Radians a place of every pair of dimensions, from those without stretching.

        Source: `linear`: Chen et al. 2023, arXiv:2306.15595, eq. 4; `llama3`: Llama team 2024, arXiv:2407.21783, whose
        code has the formula.
        """
        if self.rope_type != "llama3":
            return frequency / self.factor
        turns = self.original_max_position_embeddings * frequency / (2 * np.pi)
        quick = np.clip((turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor), 0.0, 1.0)
        return frequency * (quick + (1 - quick) / self.factor)


def parse(told: Mapping[str, Any] | None, *, who: str, theta: float, positions: int) -> Rope:
    """Read `rope_scaling` of older configurations, or `rope_parameters` of newer ones.

    Args:
      told: that mapping, or None where a file has none.
      who: which model, for messages.
      theta: the base where `told` has none.
      positions: the length that `llama3` starts from where `told` has none.
    Raises: ValueError for another stretching, an unknown key, or a number that is not above 0, by name.
    """
    if not isinstance(told, Mapping | None):
        raise ValueError(f"{who} config: rope parameters must be names and values, got {told!r:.60}")
    given = dict(told or {})
    for key in ("rope_type", "type"):
        if not isinstance(given.get(key), str | None):
            raise ValueError(f"{who} config: rope's {key} must be one of {list(KINDS)}, got {given[key]!r}")
    kinds = {given.pop(key) for key in ("rope_type", "type") if given.get(key) is not None} or {"default"}
    kind = kinds.pop()
    if kinds or kind not in KINDS:
        raise ValueError(f"{who} config: rope_type must be one of {list(KINDS)}, got {sorted({kind, *kinds})}")
    theta = _above_0(who, "rope_theta", given.pop("rope_theta", theta))
    if kind == "llama3":
        given.setdefault("original_max_position_embeddings", positions)
    if given.keys() != set(KINDS[kind]):
        raise ValueError(f"{who} config: rope of type {kind} takes {list(KINDS[kind])}, got {sorted(given)}")
    numbers = {key: _above_0(who, key, value) for key, value in given.items()}
    lengths = {key: int(value) if "max" in key else value for key, value in numbers.items()}
    return Rope(rope_theta=theta, rope_type=kind, **lengths)  # type: ignore[arg-type]


def _above_0(who: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{who} config: {key} must be a number above 0, got {value!r}")
    return float(value)


def from_config(config: Mapping[str, Any], *, who: str, positions: int, theta: float = 10_000.0) -> Rope:
    """The one rope of a `config.json`, under the keys of either generation of transformers.

    Raises: ValueError when both generations' keys are there, or for what `parse` refuses.
    """
    new, old = config.get("rope_parameters"), config.get("rope_scaling")
    if new and old:
        raise ValueError(f"{who} config: wanted rope_parameters or rope_scaling, got both: {new} and {old}")
    base = _above_0(who, "rope_theta", config.get("rope_theta", theta))
    return parse(new or old, who=who, theta=base, positions=positions)


def describe(rope: Rope) -> dict[str, Any]:
    """The `rope_scaling` that every release of transformers reads, its base apart; None without stretching."""
    if rope.rope_type == "default":
        return {"rope_theta": rope.rope_theta, "rope_scaling": None}
    scaling = {key: getattr(rope, key) for key in ("rope_type", *KINDS[rope.rope_type])}
    return {"rope_theta": rope.rope_theta, "rope_scaling": scaling}
