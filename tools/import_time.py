"""Fail when `import jaxemb` takes half a second or more: the median of five fresh interpreters."""

import statistics
import subprocess
import sys

LIMIT = 0.5  # seconds
PROGRAM = "import time; start = time.perf_counter(); import jaxemb; print(time.perf_counter() - start)"


def main() -> int:
    """Measure and compare; returns the exit code."""
    runs = [
        subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True) for _ in range(5)
    ]
    seconds = statistics.median(float(run.stdout) for run in runs)
    sys.stdout.write(f"import jaxemb: {seconds:.3f} s, limit {LIMIT} s\n")
    return int(seconds >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
