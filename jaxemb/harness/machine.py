"""What a number was measured with and on: versions, device, and how many cores."""

import contextlib
import functools
import os
import platform
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import jax

import jaxemb

PACKAGES = ("jax", "jaxlib", "numpy", "scann", "bm25s", "faiss-cpu", "usearch")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC", "XLA_FLAGS")


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python, of jaxemb with its commit where it runs from a checkout, and of what computes."""
    commit = _commit(Path(jaxemb.__file__).parent)
    found = {"jaxemb": jaxemb.__version__ + (f"+{commit}" if commit else ""), "python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _commit(folder: Path) -> str:
    """Twelve digits of the commit, `.changed` where files differ from it; empty outside a checkout of this package."""
    try:
        # A virtual environment may lie in somebody's checkout: only a file that git tracks says that this one is ours.
        _git(folder, "ls-files", "--error-unmatch", "__init__.py")
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + (".changed" if changed else "")


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def usable() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device() -> str:
    """What JAX computes on, as `2-core CPU (AMD EPYC)` or `1x NVIDIA H100, 16-core CPU (...)`."""
    cpu = f"{usable()}-core CPU ({_processor()})"
    kinds = [one.device_kind for one in jax.devices() if one.platform != "cpu"]
    return ", ".join([*(f"{kinds.count(kind)}x {kind}" for kind in dict.fromkeys(kinds)), cpu])


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.exists():
        for text in described.read_text(encoding="utf-8").splitlines():
            if text.startswith("model name"):
                return text.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def threads() -> dict[str, str]:
    """The variables of the environment that set how many threads a library takes, where they are set."""
    return {name: os.environ[name] for name in THREADS if name in os.environ}


@contextlib.contextmanager
def pinned(cores: int | None) -> Iterator[int]:
    """Keep every thread of this process on so many cores while the block runs; yield how many it has.

    Threads that libraries started before (XLA's, BLAS's, ScaNN's) are moved with
    the rest, and all are let go afterwards.  A library may still start more
    threads than cores: they then take turns.

    Args:
      cores: None leaves everything as it is.
    Raises: ValueError when there are fewer cores, or the system (not Linux) cannot pin.
    """
    if cores is None:
        yield usable()
        return
    if not hasattr(os, "sched_setaffinity") or not Path("/proc/self/task").is_dir():
        raise ValueError(f"threads cannot be pinned to {cores} cores on {platform.system()}: measure with cores=None")
    allowed = sorted(os.sched_getaffinity(0))
    if not 1 <= cores <= len(allowed):
        raise ValueError(f"wanted 1 to {len(allowed)} cores, got {cores}")
    _move(set(allowed[:cores]))
    try:
        yield cores
    finally:
        _move(set(allowed))


def _move(cores: set[int]) -> None:
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # a thread may end in between
            os.sched_setaffinity(int(task.name), cores)
