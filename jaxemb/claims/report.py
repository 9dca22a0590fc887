"""Claims as text: what was measured, with intervals over the seeds, and which margins held."""

from collections.abc import Mapping, Sequence

from jaxemb.claims.claim import Claim, Finding, Margin, judged, over_seeds
from jaxemb.claims.rows import CPU_SECONDS, SECONDS, WHOLE
from jaxemb.harness.record import Record
from jaxemb.harness.summary import DASH
from jaxemb.train import Plan


def table(records: Sequence[Record]) -> str:
    """A row a recipe, a column a metric, each as its mean over the seeds and the interval of that, in Markdown."""
    shown = [one for one in records if one.recipe != WHOLE]
    metrics = list(dict.fromkeys(one.metric for one in shown))
    rows = list(dict.fromkeys(one.recipe for one in shown))
    found = {(one.recipe, one.metric): one.values for one in shown}
    cells = [[_cell(found.get((row, metric))) for metric in metrics] for row in rows]
    lines = [["row", *metrics], ["---", *["---:"] * len(metrics)]]
    lines += [[row, *cell] for row, cell in zip(rows, cells, strict=True)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(values: Sequence[float] | None) -> str:
    return DASH if values is None else _seen(values)


def _seen(values: Sequence[float]) -> str:
    """One value, or the mean of several and its interval."""
    if len(values) == 1:
        return _figure(values[0], values[0])
    low, mean, high = over_seeds(values)
    return f"{_figure(mean, mean)} [{_figure(low, mean)}, {_figure(high, mean)}]"


def _figure(value: float, like: float) -> str:
    """With as many digits as fit the size of another."""
    if abs(like) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1e}" if 0 < abs(like) < 5e-4 else f"{value:.3f}"


def told(finding: Finding) -> str:
    """A finding as one line: what had to hold, and what was seen."""
    held = "holds" if finding.held else "DOES NOT HOLD"
    line = f"{held}: {_wanted(finding.margin)}; got {_seen(finding.values)}"
    if finding.each == "once":
        return line
    return f"{line} ({finding.each}s {', '.join(_figure(value, value) for value in finding.values)})"


def took(records: Sequence[Record]) -> str:
    """How long the run was; nothing where nobody measured it."""
    found = {one.metric: one.values[0] for one in records if one.recipe == WHOLE}
    if not found:
        return ""
    return f"{found[SECONDS] / 60:.1f} minutes, {found[CPU_SECONDS]:.0f} seconds of all cores together"


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


def legend(claim: Claim, records: Sequence[Record]) -> list[str]:
    """What the rows of the records are; records that are older than the claim may lack some."""
    there = {one.recipe for one in records}
    return [f"- `{row}`: {what}" for row, what in claim.legend.items() if row in there]


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
                    *([f"- **Time**: {time}"] if (time := took(measured)) else []),
                    *legend(claim, measured),
                )
            ),
            table(measured),
            "\n".join(f"- {told(finding)}" for finding in judged(claim.margins, measured)),
        ]
        parts.append("\n\n".join(lines))
    return "\n\n".join(parts) + "\n"
