"""A paper's central claim, measured again."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from jaxemb.commands.command import ClaimError, show


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Measure a paper's central claim against its baselines; exits 0 only if its margins hold, else 1."""

    name: tyro.conf.Positional[str] = ""
    """Which claim; none with --list."""
    list: bool = False
    """Show which claims there are, and how long each takes."""
    plan: bool = False
    """Compile the training step at the paper's scale for several devices, without running it; tell its memory."""
    devices: int = 8
    """Devices of that plan."""
    seeds: int = 3
    """Trainings of every row."""
    data: Path = Path("build/claims")
    """Where data is kept between runs."""
    out: Path = Path("claims")
    """The folder that NAME.jsonl is written to."""

    def run(self) -> None:
        """Measure, write, judge."""
        if self.list:
            show(_listed())
        elif self.plan:
            self._plan()
        else:
            self._measure()

    def _plan(self) -> None:
        import jax

        from jaxemb import claims

        chosen = claims.claim(self.name)
        jax.config.update("jax_num_cpu_devices", self.devices)  # before any device is looked at
        show(claims.planned(chosen.plan()))

    def _measure(self) -> None:
        import jax

        from jaxemb import claims, progress
        from jaxemb.harness import record

        chosen = claims.claim(self.name)
        if self.seeds < claims.FEWEST_SEEDS:
            raise ValueError(f"claim: wanted --seeds {claims.FEWEST_SEEDS} or more, got {self.seeds}")
        progress.say(f"{self.name}: {chosen.scale}; about {chosen.minutes:g} minutes on 2 cores")
        if chosen.devices > 1:
            jax.config.update("jax_num_cpu_devices", chosen.devices)  # before any device is looked at
        self.data.mkdir(parents=True, exist_ok=True)
        records = claims.measured(chosen, claims.Where(self.data, self.seeds))
        self.out.mkdir(parents=True, exist_ok=True)
        record.write(self.out / f"{self.name}.jsonl", records)
        if absent := sorted(set(chosen.legend) - {one.recipe for one in records}):
            progress.say(f"{self.name}: its legend tells of rows that were not measured: {', '.join(absent)}")
        show(claims.table(records))
        found = claims.judged(chosen.margins, records)
        show("\n".join(claims.told(finding) for finding in found))
        show(f"took {claims.took(records)}")
        if lost := sum(not finding.held for finding in found):
            raise ClaimError(f"{lost} of {len(found)} margins do not hold")


def _listed() -> str:
    from jaxemb import claims

    lines = []
    for name in claims.CLAIMS:
        one = claims.claim(name)
        lines.append(f"{name:28} about {one.minutes:g} min  {one.paper}")
    return "\n".join(lines)
