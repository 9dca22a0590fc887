"""One system that trains, in a process of its own: `python -m bench.train.worker NAME`."""

import time
from pathlib import Path
from typing import Any

from bench.worker import Answer, serve


def peak() -> int:
    """The most memory that this process ever had, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def load(name: str, given: dict[str, Any], threads: int) -> Answer:
    """A job has a batch to train on, or texts to encode and where to keep the vectors."""
    import numpy as np

    from bench.train.systems import SYSTEMS, timed

    trainer = SYSTEMS[name].load(Path(given["model"]), threads)

    def answer(job: dict[str, Any]) -> dict[str, Any]:
        if "save" in job:
            np.save(job["save"], trainer.encode(job["texts"]), allow_pickle=False)
            return {}
        if "warm" in job:
            start = time.perf_counter()
            trainer.warm(job["warm"])
            return {"seconds": time.perf_counter() - start}
        loss, seconds = timed(trainer, job["queries"], job["documents"])
        return {"loss": loss, "seconds": seconds, "peak": peak()}

    return answer


if __name__ == "__main__":
    serve(load)
