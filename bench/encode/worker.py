"""One system in a process of its own: `python -m bench.encode.worker NAME`, JSON lines in and out.

It is stopped while another works, so that no library's waiting threads take time from it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


class Worker:
    """The parent's end: start it, wait until it is `ready`, give it jobs, end it.

    Args:
      name: of one of `systems.SYSTEMS` or `systems.STATIC`.
      threads: how many, pinned to as many cores.
    """

    def __init__(self, name: str, folders: Mapping[str, str], threads: int) -> None:
        cores = sorted(os.sched_getaffinity(0))[:threads]
        quiet = {"TOKENIZERS_PARALLELISM": "true", "HF_HUB_OFFLINE": "1", "JAX_PLATFORMS": "cpu"}
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.encode.worker", name, json.dumps({**folders, "cores": cores})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, **quiet, **dict.fromkeys(THREADS, str(threads))},
        )

    def ready(self) -> None:
        """Wait until it is loaded."""
        self._read()

    def __call__(self, **job: Any) -> dict[str, Any]:
        """Let it work, alone; what it answers."""
        self.process.send_signal(signal.SIGCONT)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name}: ended with {self.process.wait()}; its errors are above")
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED)  # the next one starts when this one stands
        return json.loads(answer)

    def end(self) -> None:
        """Let it go."""
        with self.process:  # closes its pipes and waits
            self.process.kill()


def main() -> None:
    """The child's end."""
    name, given = sys.argv[1], json.loads(sys.argv[2])
    os.sched_setaffinity(0, given.pop("cores"))  # before any library counts them
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer

    import numpy as np

    from bench.encode.systems import STATIC, SYSTEMS, Folders

    threads = len(os.sched_getaffinity(0))
    folders = Folders(**{key: Path(value) for key, value in given.items()})
    encode = {**SYSTEMS, **STATIC}[name].load(folders, threads)

    def answer(**content: Any) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    answer(threads=threads)
    for line in sys.stdin:
        job = json.loads(line)
        texts = json.loads(Path(job["texts"]).read_text(encoding="utf-8"))
        parts = [[text] for text in texts] if job.get("singly") else [texts]
        seconds, vectors = [], []
        for part in parts:
            start = time.perf_counter()
            vectors.append(encode(part, job["batch"]))
            seconds.append(time.perf_counter() - start)
        if job.get("save"):
            np.save(job["save"], np.concatenate(vectors), allow_pickle=False)
        answer(seconds=seconds)


if __name__ == "__main__":
    main()
