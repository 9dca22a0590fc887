"""One loss of `b` queries and `b` documents, forward and backward, in a process of its own.

python -m bench.train.tiling tiled 8192 256 5
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.train.worker import peak


def measured(way: str, b: int, d: int, repeats: int) -> dict[str, Any]:
    """Seconds of every repeat after the first, which compiles, and bytes beyond the vectors; in a fresh process."""
    command = [sys.executable, "-m", "bench.train.tiling", way, str(b), str(d), str(repeats)]
    run = subprocess.run(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"{' '.join(command[2:])}: ended with {run.returncode}")
    return json.loads(run.stdout)


def main() -> None:
    """The child's end."""
    way, (b, d, repeats) = sys.argv[1], map(int, sys.argv[2:5])

    import jax

    from jaxemb import losses

    loss = {"naive": losses.info_nce, "tiled": losses.tiled(losses.info_nce)}[way]
    run = jax.jit(jax.value_and_grad(lambda q, d: loss(q, d).mean(), argnums=(0, 1)))
    query, document = jax.block_until_ready(jax.random.normal(jax.random.key(0), (2, b, d)))
    before = peak()
    program = run.lower(query, document).compile()
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(program(query, document))
        seconds.append(time.perf_counter() - start)
    sys.stdout.write(json.dumps({"seconds": seconds[1:] or seconds, "bytes": peak() - before}))


if __name__ == "__main__":
    main()
