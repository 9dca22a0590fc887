"""Several tasks in one run: each batch is of one, and meets that one's objective."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Array, Float

from jaxemb.train.step import check_names
from jaxemb.types import Batch, Objective, Params


def by_task(objectives: Mapping[str, Objective]) -> Objective:
    """The objective of the task that a batch is of: `{task: <that objective's batch>}`, as `data.mixture` gives it.

    What it shows stands under its own names, and the mean loss under the task's, so that a log tells the tasks apart.
    Entries beside the task, as `key`, go to its objective; of those that are carried from step to step, what it does
    not show anew stays as it is.  Each task is compiled by itself.

    Raises: ValueError without objectives, for a task with a name that a log or what its objective shows has already,
      for a batch that is not of one task, or of one that has no objective.
    """
    if not objectives:
        raise ValueError("by_task: wanted one objective or more, got none")
    check_names("by_task: tasks are called", objectives)

    def chosen(params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Any]]:
        tasks = [name for name in batch if name in objectives]
        if len(tasks) != 1:
            raise ValueError(f"by_task: wanted a batch of one task of {sorted(objectives)}, got {sorted(batch)}")
        (task,) = tasks
        beside = {name: value for name, value in batch.items() if name != task}
        losses, shown = objectives[task](params, {**batch[task], **beside})
        kept = {name: value for name, value in beside.items() if name != "key"}
        if task in shown:
            raise ValueError(f"by_task: the objective of {task!r} shows a number of that name; call the task otherwise")
        return losses, {**kept, **shown, task: losses.mean()}

    return chosen
