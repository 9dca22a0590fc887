"""A new model for an old bundle."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from jaxemb.commands.command import show


@dataclass(frozen=True, kw_only=True)
class Adapt:
    """Adapt or re-index?  Measure every option for a new model on an old bundle, and write the best one."""

    bundle: tyro.conf.Positional[Path]
    """A folder that `jaxemb index` wrote, with the old model in it."""
    model: tyro.conf.Positional[Path | str]
    """The new model: a sentence-transformers folder, or the id of one on the hub."""
    queries: tyro.conf.Positional[Path]
    """.txt, one a line, or .jsonl with `id` and `text`; or a BEIR folder, whose judgements name the bundle's documents.
    Without judgements options are compared with what an index of the new model would find."""
    out: tyro.conf.Positional[Path]
    """The bundle to write; one that is there is replaced when the new one is finished."""
    split: str = "test"
    """Of the BEIR folder's judgements."""
    option: str | None = None
    """Which to take, as `procrustes` or `index made again`; by default the one that is recommended."""
    sample: int = 2000
    """Documents that the new model reads to tell."""
    seed: int = 0

    def run(self) -> None:
        """Read, measure, write."""
        from jaxemb import model
        from jaxemb.harness import upgrade
        from jaxemb.index import bundle

        old, new = bundle.load(self.bundle), model.searchable(model.load(self.model))
        queries, answers = self._asked()
        advice = upgrade.measured(old, new, queries, answers, sample=self.sample, seed=self.seed)
        show(upgrade.table(advice))
        named = {one.name: one for one in advice.options if one.name != upgrade.OLD}
        if self.option is not None and self.option not in named:
            raise ValueError(f"no option {self.option!r}; there are {', '.join(named)}")
        chosen = named[self.option or advice.recommended]
        upgrade.write(self.out, old, new, chosen)
        show(f"{self.out}: {chosen.name}")

    def _asked(self) -> tuple[list[str], list[list[str]] | None]:
        from jaxemb import data

        if not self.queries.is_dir():
            return list(data.read_texts(self.queries).texts), None
        task = data.read_beir(self.queries, self.split)
        judged = {
            query: [name for name, grade in line.items() if grade >= 1] for query, line in task.judgements.items()
        }
        texts = dict(zip(task.query_ids, task.queries, strict=True))
        asked = [query for query in task.query_ids if judged.get(query)]
        return [texts[query] for query in asked], [judged[query] for query in asked]
