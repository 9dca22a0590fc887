"""Write docs/pages/parity.md's table: how far our states are from the reference's, for every architecture.

Reads the golden folders under tests/golden/families, which `tools/golden_families.py` makes with transformers, and
computes ours from the same weights and ids in float32; run from the repository's root:

    python tools/parity_table.py
"""

import json
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxemb import atomic, checkpoint, encode
from jaxemb.types import Tokens

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden" / "families"
PAGE = ROOT / "docs" / "pages" / "parity.md"
START, END = "<!-- table: python tools/parity_table.py -->", "<!-- /table -->"


class Row(NamedTuple):
    """One golden model: its name and `model_type`, its layers, the largest state, and the largest difference."""

    name: str
    model_type: str
    layers: int
    largest: float
    difference: float


def measured(folder: Path) -> Row:
    """Our states of every layer against the kept ones, padding left out."""
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    family = encode.family_named(raw["model_type"])
    config = family.parse(raw)
    backbone = family.backbone(config)
    like = jax.eval_shape(backbone.init, jax.random.key(0))
    tensors = checkpoint.read_tensors(folder / "model.safetensors")
    params = checkpoint.from_foreign(tensors, family.keys(config), like, unused=family.unused)
    values = np.load(folder / "values.npz", allow_pickle=False)
    tokens = Tokens(jnp.asarray(values["ids"]), jnp.asarray(values["mask"]))
    kept = values["mask"].astype(bool)
    wanted = np.concatenate([values["hidden"][:-1], values["last"][None]])[:, kept]
    got = np.asarray(backbone.hidden(params, tokens))[:, kept]
    return Row(
        folder.name, raw["model_type"], len(wanted) - 1, float(np.abs(wanted).max()), float(np.abs(got - wanted).max())
    )


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| golden model | model_type | layers | largest state | largest difference |",
        "|---|---|---:|---:|---:|",
        *(f"| {r.name} | `{r.model_type}` | {r.layers} | {r.largest:.1f} | {r.difference:.1e} |" for r in rows),
    ]
    return "\n".join(lines)


def put(start: str, made: str) -> None:
    """Put a table between the mark `start` of the page and the next `END`."""
    before, rest = PAGE.read_text(encoding="utf-8").split(start)
    _, end, after = rest.partition(END)
    with atomic.file(PAGE) as partial:
        partial.write_text(f"{before}{start}\n{made}\n{end}{after}", encoding="utf-8")


def main() -> None:
    """Measure every golden folder and put the table between the page's marks."""
    put(START, table([measured(folder) for folder in sorted(GOLDEN.iterdir())]))


if __name__ == "__main__":
    main()
