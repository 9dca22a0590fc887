"""Many params of one shape to one: pure functions over whole trees."""

from jaxemb.merge.operators import average, per_leaf, slerp, task_arithmetic
from jaxemb.merge.trees import same_shapes

__all__ = ["average", "per_leaf", "same_shapes", "slerp", "task_arithmetic"]
