"""Long work shows progress: one way to draw it, on standard error."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True)


def say(text: str) -> None:
    """One plain line of what is going on."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextlib.contextmanager
def bar(what: str, total: int, *, shown: bool = True) -> Iterator[Callable[..., None]]:
    """Yield `advance(steps, note="")`, which moves the bar of `total` steps and writes `note` beside it.

    Where standard error is no terminal, one line at the end takes the bar's place.
    """
    if not shown:
        yield lambda steps, note="": None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as drawing:
        task = drawing.add_task(what, total=total, note="")
        yield lambda steps, note="": drawing.update(task, advance=steps, **({"note": note} if note else {}))
