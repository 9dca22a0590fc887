"""Records of searches to tables in Markdown, one for each set of vectors, the quickest row first."""

from collections.abc import Iterable

import numpy as np

from jaxemb.harness import Record

HEAD = ("row", "recall@10", "queries/s", "p50 ms", "p95 ms", "p99 ms", "bytes a vector", "MB in memory", "MB on disk")


def table(records: Iterable[Record]) -> str:
    """All rows of all tasks; queries a second are of one query at a time on one thread."""
    by_task: dict[str, dict[str, dict[str, tuple[float, ...]]]] = {}
    for one in records:
        by_task.setdefault(one.task, {}).setdefault(one.recipe, {})[one.metric] = one.values
    return "\n".join(f"## {task}\n\n{_of(rows)}" for task, rows in by_task.items())


def per_second(ms: tuple[float, ...]) -> float:
    """Queries a second, of the milliseconds of each.

    >>> per_second((1.0, 3.0))
    500.0
    """
    return 1000 * len(ms) / sum(ms)


def _of(rows: dict[str, dict[str, tuple[float, ...]]]) -> str:
    decoded = any("decoded@10" in found for found in rows.values())
    head = [*HEAD, "build s", *(["of decoded"] if decoded else [])]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    timed = {name: found for name, found in rows.items() if "search_ms_1t" in found}
    for name, found in sorted(timed.items(), key=lambda row: -per_second(row[1]["search_ms_1t"])):
        ms = found["search_ms_1t"]
        cells = [name, _mean(found, "fidelity@10", ".3f"), f"{per_second(ms):,.0f}"]
        cells += [f"{np.percentile(ms, share):.3f}" for share in (50, 95, 99)]
        cells += [_mean(found, "bytes_per_vector", ".0f")]
        cells += [_mean(found, metric, ",.1f", 1e6) for metric in ("index_bytes_resident", "index_bytes_disk")]
        cells += [_mean(found, "build_s", ".1f")]
        lines.append([*cells, _mean(found, "decoded@10", ".3f")] if decoded else cells)
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _mean(found: dict[str, tuple[float, ...]], metric: str, form: str, unit: float = 1) -> str:
    return f"{np.mean(found[metric]) / unit:{form}}" if metric in found else ""
