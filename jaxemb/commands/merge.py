"""Many models to one."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from jaxemb.commands.command import show


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Merge models of one shape into one, tensor by tensor."""

    models: tyro.conf.Positional[tuple[Path, ...]]
    """Two folders or more."""
    out: Path
    """The model folder to write: the first one's pooling, prompts and tokenizer with merged weights."""
    operator: str = "average"
    """average, slerp, karcher; with --base also task-arithmetic, ties, dare, dare-ties, della, della-linear,
    breadcrumbs, breadcrumbs-ties, sce, model-stock, multi-slerp, slerp-fold."""
    base: Path | None = None
    """The model that the others were trained from."""
    weights: tuple[float, ...] = ()
    """One a model; for slerp one number, how far to go from the first model to the second."""
    scale: float = 1.0
    """Of the merged task vector."""
    density: float | None = None
    """The share of each tensor's numbers that is kept: by default 0.2 of ties, 0.9 of breadcrumbs, else 0.5."""
    spread: float = 0.15
    """Of della: how much more often large numbers are kept."""
    outliers: float = 0.01
    """Of breadcrumbs: the share of the very largest that is left out."""
    rescale: str = "inverse"
    """How dare and della make up for what they drop: inverse, l1, l2 or none."""
    selected: float = 1.0
    """Of sce: the share of numbers that count, those in which models differ most."""
    per_tensor: bool = False
    """Take directions of each tensor, as mergekit does, and not of the whole model."""
    seed: int = 0
    """Of what is dropped at random."""

    def run(self) -> None:
        """Check, merge, write; with a base, say how far each model went and in which direction."""
        from jaxemb.model import merged, task_vectors

        settings = {name: getattr(self, name) for name in merged.Merging.__dataclass_fields__}
        merged.merge_folders(self.models, self.out, merged.Merging(**settings), base=self.base)
        if self.base is not None:
            show(task_vectors.told(self.models, self.base))
        show(f"{self.out}: {self.operator} of {len(self.models)} models")
