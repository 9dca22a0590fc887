"""Peak memory of `encode_corpus` on few and on many short texts, each in a process of its own, on Linux.

    python tools/corpus_memory.py path/to/all-MiniLM-L6-v2 scratch --counts 10000 100000

Exit code 0 when the most is within a tenth of the least, 1 otherwise.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

PROGRAM = """
import random, sys
from pathlib import Path
from jaxemb import model
words = ["owl", "swift", "night", "wing", "river", "stone", "green", "old", "hunts", "sleeps"]
def documents():
    draw = random.Random(0)
    for i in range(int(sys.argv[2])):
        yield f"d{i}", " ".join(draw.choices(words, k=draw.randrange(1, 13)))
model.encode_corpus(model.load(sys.argv[1], dtype="bfloat16"), documents, sys.argv[3], what=sys.argv[2] + " texts")
# In KiB.  Not `getrusage`: a new process inherits its parent's maximum there.
print(*(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to encode."""

    model: tyro.conf.Positional[str]
    """A sentence-transformers folder."""
    scratch: tyro.conf.Positional[Path]
    """A folder for the vectors; it must not be there yet."""
    counts: tuple[int, ...] = (10_000, 100_000)


def main(config: Config) -> int:
    """Measure and compare; returns the exit code."""
    config.scratch.mkdir(parents=True)
    peaks = []
    for count in config.counts:
        command = [sys.executable, "-c", PROGRAM, config.model, str(count), str(config.scratch / str(count))]
        peaks.append(int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))
        sys.stdout.write(f"{count} texts: {peaks[-1] / 1024:.0f} MiB at most\n")
    return int(max(peaks) > 1.1 * min(peaks))


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config)))
