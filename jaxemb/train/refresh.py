"""Training whose batches are mined anew with the params that it has come to, as in ANCE, every so many steps."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import optax

from jaxemb.checkpoint import Checkpoints
from jaxemb.train.fit import Batches, fit, from_jsonable, jsonable
from jaxemb.types import Batch, Objective, Params

Mine = Callable[[Params, int, Path], object]
"""(params, steps behind them, file) -> writes the file, whole or not at all, as `data.negatives.mine` does."""

Read = Callable[[Path, int], Batches]
"""(a file that was mined, at which step) -> batches; the same for the same arguments."""


def refreshed(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    batches: Read,
    params: Params,
    *,
    mine: Mine,
    refresh: int,
    steps: int,
    folder: Path | str,
    **settings: Any,
) -> Params:
    """As `fit`, with batches that are mined before the first step and again after every `refresh` steps.

    Mining and training take turns: each part of `refresh` steps is a call of `fit` that goes on from the checkpoint of
    the part before, so optimizer, schedule, keys and log go on as in one run.  What was mined for the part that runs
    stays in `folder`.  Killed at any instant, while it mines or trains, and called again with the same arguments, it
    goes on and gives what it would have given.

    Each part compiles the step again: let parts be long beside that and beside the mining.

    Args:
      batches: reads what was mined, for the part that begins at a step.
      mine: with the params that `fit` returns at that step: those that it has come to, their average, or the best so
        far, as `result` and `validation` say.  At step 0 they are those given, which may be a reason to write what
        another search found.  It has to write the same for the same params.
      refresh: steps between.
      steps: how many in all.
      folder: holds `checkpoints` and `negatives`; with several processes each mines a file of its own there.
      settings: all others of `fit`.
    Returns: as `fit`.
    Raises: as `fit`; FileNotFoundError when `mine` wrote nothing, or what was mined for the checkpoint's part is gone.
    Source: Xiong et al. 2020, arXiv:2007.00808 (ANCE); there another machine mines while training goes on.
    """
    if steps < 1 or refresh < 1:
        raise ValueError(f"refreshed: steps and refresh must be 1 or more, got {steps} and {refresh}")
    folder = Path(folder)
    saved = folder / "checkpoints"
    reached, now = _reached(saved), params
    if reached:
        place: Any = {**settings, "what": None}
        now = fit(objective, optimizer, _Done(), params, steps=min(reached, steps), checkpoints=saved, **place)
    while reached < steps:
        start, end = reached // refresh * refresh, min(reached // refresh * refresh + refresh, steps)
        file = _mined(mine, now, start, reached, folder / "negatives")
        part = _Part(batches(file, start), start)
        now = fit(objective, optimizer, part, params, steps=end, checkpoints=saved, **settings)
        if (reached := _reached(saved)) < end:
            break  # the validation has ended it
    return now


def _reached(folder: Path) -> int:
    """How many steps the newest checkpoint has behind it."""
    if not folder.is_dir():
        return 0
    saved = Checkpoints(folder)
    try:
        return saved.latest() or 0
    finally:
        saved.close()


def _mined(mine: Mine, params: Params, start: int, reached: int, folder: Path) -> Path:
    """The file for the part that begins at step `start`; mined now unless it was before."""
    own = f"-process-{jax.process_index()}" if jax.process_count() > 1 else ""
    file = folder / f"step-{start:08d}{own}.jsonl"
    # What is there at step 0 may be of any earlier run: no checkpoint says of which.
    if file.is_file() and reached > 0:
        return file
    if reached != start:
        raise FileNotFoundError(
            f"refreshed: the checkpoint of step {reached} goes on with {file}, which is gone; only params of step "
            f"{start} could mine it again"
        )
    folder.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    mine(params, start, file)
    if not file.is_file():
        raise FileNotFoundError(f"refreshed: mine was to write {file}, and did not")
    for other in folder.glob(f"step-*{own}.jsonl"):
        if other != file:
            other.unlink()
    return file


class _Part:
    """Batches of one part, which know where another part's state has left them: at their beginning."""

    def __init__(self, batches: Batches, start: int) -> None:
        self._batches, self._start = batches, start

    def __next__(self) -> Batch:
        return next(self._batches)

    def get_state(self) -> dict[str, Any]:
        return {"start": self._start, **jsonable(self._batches.get_state())}

    def set_state(self, state: Mapping[str, Any]) -> None:
        if "start" not in state or state["start"] > self._start:
            raise ValueError(
                f"refreshed: the checkpoint is of other batches than those from step {self._start}: {state}"
            )
        if state["start"] == self._start:
            self._batches.set_state(from_jsonable(state))


class _Done:
    """Batches of a run that takes no step."""

    def __next__(self) -> Batch:
        raise StopIteration

    def get_state(self) -> None: ...

    def set_state(self, state: Any) -> None: ...
