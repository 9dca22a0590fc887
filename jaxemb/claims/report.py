"""Claims as text: what was measured, with intervals over the seeds, and which margins held."""

from collections.abc import Mapping, Sequence

from jaxemb.claims.claim import Claim, Finding, Margin, judged, over_seeds
from jaxemb.harness.record import Record
from jaxemb.harness.summary import DASH
from jaxemb.train import Plan


def table(records: Sequence[Record]) -> str:
    """A row a recipe, a column a metric, each as its mean over the seeds and the interval of that, in Markdown."""
    metrics = list(dict.fromkeys(one.metric for one in records))
    rows = list(dict.fromkeys(one.recipe for one in records))
    found = {(one.recipe, one.metric): one.values for one in records}
    cells = [[_cell(found.get((row, metric))) for metric in metrics] for row in rows]
    lines = [["row", *metrics], ["---", *["---:"] * len(metrics)]]
    lines += [[row, *cell] for row, cell in zip(rows, cells, strict=True)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(values: Sequence[float] | None) -> str:
    if values is None:
        return DASH
    if len(values) == 1:
        return f"{values[0]:.4g}"
    low, mean, high = over_seeds(values)
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def told(finding: Finding) -> str:
    """A finding as one line: what had to hold, and what was seen."""
    low, mean, high = over_seeds(finding.values)
    seeds = ", ".join(f"{value:.3f}" for value in finding.values)
    held = "holds" if finding.held else "DOES NOT HOLD"
    return f"{held}: {_wanted(finding.margin)}; got {mean:.3f} [{low:.3f}, {high:.3f}] (seeds {seeds})"


def _wanted(margin: Margin) -> str:
    between = margin.row
    if margin.over is not None:
        between += f" {'/' if margin.ratio else '-'} {margin.over}"
    bounds = [
        f"{sign} {bound:g}{each}"
        for sign, bound, each in ((">=", margin.least, ""), ("<=", margin.most, ""), (">", margin.every, " every seed"))
        if bound is not None
    ]
    return f"{margin.metric} of {between} {' and '.join(bounds)}"


def planned(plans: Mapping[str, Plan]) -> str:
    """Steps at full scale, in Markdown."""
    lines = [
        "| step | params | trained | devices | held a device | worked with |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, one in plans.items():
        held, worked = (f"{count / 1e9:.2f} GB" for count in (one.bytes_held, one.bytes_worked))
        lines.append(f"| {name} | {one.params:,} | {one.moving:,} | {one.devices} | {held} | {worked} |")
    return "\n".join(lines)


def page(claims: Mapping[str, Claim], records: Mapping[str, Sequence[Record]]) -> str:
    """All claims that there are records of: the paper's figure, ours, the scale, and what differs."""
    parts = []
    for name, claim in claims.items():
        if name not in records:
            continue
        measured = records[name]
        tasks = ", ".join(f"`{task}`" for task in dict.fromkeys(one.task for one in measured))
        lines = [
            f"## `{name}`",
            f"{claim.paper}. {claim.says}",
            "\n".join(
                (
                    f"- **The paper's figures**: {claim.published}",
                    f"- **Here**: {claim.scale}",
                    f"- **What differs**: {claim.differs}",
                    f"- **Data**: {tasks}; {measured[0].device}",
                )
            ),
            table(measured),
            "\n".join(f"- {told(finding)}" for finding in judged(claim.margins, measured)),
        ]
        parts.append("\n\n".join(lines))
    return "\n\n".join(parts) + "\n"
