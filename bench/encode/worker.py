"""One system that encodes, in a process of its own: `python -m bench.encode.worker NAME`."""

import json
import time
from pathlib import Path
from typing import Any

from bench.worker import Answer, serve


def load(name: str, given: dict[str, Any], threads: int) -> Answer:
    """A job names a file of texts, and says whether to read them singly and where to keep the vectors."""
    import numpy as np

    from bench.encode.systems import STATIC, SYSTEMS, Folders

    encode = {**SYSTEMS, **STATIC}[name].load(Folders(**{key: Path(value) for key, value in given.items()}), threads)

    def answer(job: dict[str, Any]) -> dict[str, Any]:
        texts = json.loads(Path(job["texts"]).read_text(encoding="utf-8"))
        parts = [[text] for text in texts] if job.get("singly") else [texts]
        seconds, vectors = [], []
        for part in parts:
            start = time.perf_counter()
            vectors.append(encode(part, job["batch"]))
            seconds.append(time.perf_counter() - start)
        if job.get("save"):
            np.save(job["save"], np.concatenate(vectors), allow_pickle=False)
        return {"seconds": seconds}

    return answer


if __name__ == "__main__":
    serve(load)
