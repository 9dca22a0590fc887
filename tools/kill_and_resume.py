"""Kill `jaxemb encode` at random moments, let it go on each time, and compare the result with a run in one go.

    python tools/kill_and_resume.py path/to/all-MiniLM-L6-v2 documents.jsonl scratch --kills 20 --documents 20000

Exit code 0 when every file has the same name and sha256, 1 otherwise, or when no kill came while it was at work.
"""

import hashlib
import itertools
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to encode, and how often to kill."""

    model: tyro.conf.Positional[str]
    """A sentence-transformers folder."""
    texts: tyro.conf.Positional[Path]
    """.txt or .jsonl."""
    scratch: tyro.conf.Positional[Path]
    """A folder for both results; it must not be there yet."""
    documents: int = 20_000
    """How many of the documents, from the first."""
    kills: int = 20
    shard_rows: int = 1000
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    seed: int = 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _content(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def main(config: Config) -> int:
    """Run, kill, compare; returns the exit code."""
    config.scratch.mkdir(parents=True)
    some = config.scratch / f"documents{config.texts.suffix}"
    with config.texts.open("rb") as source, some.open("wb") as file:
        file.writelines(itertools.islice(source, config.documents))
    door = "import sys; from jaxemb import cli; sys.exit(cli.main())"
    settings = ["--shard-rows", str(config.shard_rows), "--dtype", config.dtype]
    command = [sys.executable, "-c", door, "encode", config.model, str(some)]

    def start(out: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*command, str(config.scratch / out), *settings], stdout=subprocess.DEVNULL)

    begun = time.perf_counter()
    if start("whole").wait():
        return 1
    seconds = time.perf_counter() - begun
    _say(f"in one go: {seconds:.0f} s")
    draw, out = random.Random(config.seed), config.scratch / "killed"
    shards, met = -(-config.documents // config.shard_rows), 0
    for kill in range(1, config.kills + 1):
        # Long enough on average that some shards are finished in between, and often short enough that none is.
        wait = draw.uniform(0, 2.5 * seconds / config.kills)
        run = start(out.name)
        try:
            run.wait(wait)
            _say(f"kill {kill}: came too late")
            break
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
        done = len(list(out.glob("vectors-*"))) if out.exists() else 0
        met += 0 < done < shards
        _say(f"kill {kill} after {wait:.1f} s: {done} shards are there")
    if start(out.name).wait():
        return 1
    wanted, got = _content(config.scratch / "whole"), _content(out)
    odd = sorted(name for name in wanted.keys() | got.keys() if wanted.get(name) != got.get(name))
    _say(f"{len(wanted)} files, {len(odd)} differ{': ' if odd else ''}{', '.join(odd[:5])}")
    if not met:
        _say("no kill came while shards were being written: give more documents, or smaller shards")
    return int(bool(odd) or not met)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config)))
