"""Records of training to tables in Markdown: medians and ranges, and ratios of what took the same turn."""

from collections.abc import Iterable, Sequence

import numpy as np

from jaxemb import evaluate
from jaxemb.harness import Record


def table(records: Iterable[Record]) -> str:
    """All that there is records of."""
    found = list(records)
    parts = (_steps(found), _cached(found), _memory(found), _tiled(found))
    return "\n\n".join(part for part in parts if part) + "\n"


def _of(records: Sequence[Record], metric: str) -> list[Record]:
    return [one for one in records if one.metric == metric]


def spread(values: Iterable[float], form: str = ".2f") -> str:
    """The median, and the smallest and largest.

    >>> spread([3.0, 1.0, 2.0])
    '2.00 [1.00, 3.00]'
    """
    array = np.array(list(values))
    return f"{np.median(array):{form}} [{array.min():{form}}, {array.max():{form}}]"


def _interval(found: evaluate.Interval) -> str:
    return f"{found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _steps(records: Sequence[Record]) -> str:
    times = {one.recipe: one for one in _of(records, "step_s")}
    if not times:
        return ""
    losses = {one.recipe: one.values for one in _of(records, "loss")}
    ranks = {one.recipe: np.array(one.values) for one in _of(records, "mrr@10")}
    before = ranks["before"]
    rows = []
    for name, one in times.items():
        peer = times[f"sentence-transformers {one.config['precision']}"]
        ratio = np.array(peer.values) / np.array(one.values)
        gain = evaluate.paired_difference(ranks[name], before)
        rows.append(
            [
                name,
                spread(one.values),
                spread(ratio),
                f"{losses[name][0]:.5f}",
                f"{np.mean(losses[name][-5:]):.4f}",
                _interval(evaluate.interval(ranks[name])),
                _interval(gain),
            ]
        )
    config = next(iter(times.values())).config
    head = ["system", "s a step [range]", "times the peer of its precision [range]", "first loss", "last five losses"]
    grid = _grid([*head, "MRR@10, test", "gain over the start"], rows)
    return (
        f"## A step of {config['batch']} pairs\n\nTexts cut at {config['tokens']} tokens, {len(before)} queries of the "
        f"test split; before training {_interval(evaluate.interval(before))}.\n\n{grid}"
    )


def _cached(records: Sequence[Record]) -> str:
    times = {one.recipe: one for one in _of(records, "cached_step_s")}
    if not times:
        return ""
    rows = []
    for name, one in times.items():
        plain = times[name.replace(" cached", "")]
        theirs = times[name.replace("jaxemb", "sentence-transformers")]
        ratios = np.array(one.values) / np.array(plain.values), np.array(theirs.values) / np.array(one.values)
        rows.append([name, spread(one.values), *map(spread, ratios)])
    config = next(one.config for one in times.values() if one.config["cached"])
    head = ["system", "s a step [range]", "times a step without", "times the peer"]
    return f"## Cached gradients, {config['batch']} pairs, {config['chunk']} at a time\n\n{_grid(head, rows)}"


def _memory(records: Sequence[Record]) -> str:
    peaks = _of(records, "cached_peak_bytes")
    if not peaks:
        return ""
    sizes = sorted({one.config["batch"] for one in peaks})
    by = {(one.recipe, one.config["batch"]): one.values[0] / 2**20 for one in peaks}
    names = dict.fromkeys(one.recipe for one in peaks)
    rows = [[name, *(f"{by[name, size]:,.0f}" for size in sizes)] for name in names]
    head = ["MiB at most", *(f"{size} pairs" for size in sizes)]
    return f"## Memory with cached gradients, the whole process\n\n{_grid(head, rows)}"


def _tiled(records: Sequence[Record]) -> str:
    times = {(one.config["dimensions"], one.config["rows"], one.recipe): one.values for one in _of(records, "loss_s")}
    if not times:
        return ""
    peaks = {
        (one.config["dimensions"], one.config["rows"], one.recipe): one.values[0] / 2**30
        for one in _of(records, "loss_peak_bytes")
    }
    rows = []
    for size, count in sorted({key[:2] for key in times}):
        tiled, naive = (size, count, "tiled"), (size, count, "naive")
        there = naive in times
        ratio = np.median(times[tiled]) / np.median(times[naive]) if there else np.nan
        rows.append(
            [
                f"{count:,}",
                str(size),
                spread(times[tiled]),
                spread(times[naive]) if there else "",
                f"{ratio:.2f}" if there else "",
                f"{peaks[tiled]:.2f}",
                f"{peaks[naive]:.2f}" if there else "",
            ]
        )
    head = ["rows", "dimensions", "tiled, s [range]", "naive, s [range]", "times naive", "tiled, GiB", "naive, GiB"]
    return f"## InfoNCE and its gradients, all rows against all\n\n{_grid(head, rows)}"
