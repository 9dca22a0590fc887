"""One system in a process of its own, pinned to some cores: JSON lines in and out.

It is stopped while another works, so that no library's waiting threads take time from it.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


class Worker:
    """The parent's end: start it, wait until it is `ready`, give it jobs, end it.

    Args:
      module: what the process runs, whose `main` calls `serve`.
      name: of a system that it knows.
      given: what it is loaded with.
      threads: how many, pinned to as many cores.
    """

    def __init__(self, module: str, name: str, given: Mapping[str, Any], threads: int) -> None:
        cores = sorted(os.sched_getaffinity(0))[:threads]
        quiet = {"TOKENIZERS_PARALLELISM": "true", "HF_HUB_OFFLINE": "1", "JAX_PLATFORMS": "cpu"}
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, name, json.dumps({**given, "cores": cores})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
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


Answer = Callable[[dict[str, Any]], dict[str, Any]]
"""A job to what is known after it."""


def serve(load: Callable[[str, dict[str, Any], int], Answer]) -> None:
    """The child's end: load the system that the command line names, then answer jobs until there are no more.

    Args:
      load: (name, what it is loaded with, threads) -> answer.
    """
    name, given = sys.argv[1], json.loads(sys.argv[2])
    os.sched_setaffinity(0, given.pop("cores"))  # before any library counts them
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    threads = len(os.sched_getaffinity(0))
    answer = load(name, given, threads)
    answers.write(json.dumps({"threads": threads}) + "\n")
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
        answers.flush()
