"""Files and folders that appear whole or not at all.

Everything is written to a temporary sibling on the same file system, flushed
to the disk, and renamed into place; a reader sees the old one, the new one or
none, whenever the writer is killed.
"""

import contextlib
import ctypes
import errno
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

MARK = ".partial-"  # in the name of every temporary sibling, so that left-overs can be told and swept


def sweep(path: Path) -> None:
    """Remove what killed writers of `path` left beside it.  Only one writer of a path may run at a time."""
    for left in path.parent.glob(f".{glob.escape(path.name)}{MARK}*"):
        _remove(left)


def _remove(left: Path) -> None:
    shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink(missing_ok=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap what two names stand for in one step; False, with nothing done, where the system has no such call."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if rename is None:
        return False
    here, both_ways = -100, 2  # AT_FDCWD and RENAME_EXCHANGE in the kernel's headers
    if rename(here, os.fsencode(one), here, os.fsencode(other), both_ways) == 0:
        return True
    failed = ctypes.get_errno()
    if failed in (errno.ENOSYS, errno.EINVAL):  # an old kernel, or a file system that cannot
        return False
    raise OSError(failed, os.strerror(failed), str(one), None, str(other))


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path to write; it becomes `path` when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}{MARK}", dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)  # mkstemp's 0600 would hide the result from everyone else
        _flush(partial)
        partial.replace(path)
        _flush(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def folder(path: Path | str, *, replaces: str, other: Callable[[Path], str | None] | None = None) -> Iterator[Path]:
    """Yield a temporary folder to fill; it becomes `path` when the block ends without an error.

    Only a folder of the same kind is replaced: one that holds a file of the name
    `replaces`, or nothing at all.  Someone's other files are never removed.  Where folders
    of several kinds hold such a file, `other` says what the one there is; None for our own.

    An old folder at `path` and the new one change places in one step on Linux, so
    that there always is a whole one.  Elsewhere the old one is set aside just before
    the rename: for that instant there is none, never half of one.

    Raises: NotADirectoryError when something that is no folder is at `path`;
      FileExistsError when a folder of another kind is.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path}: wanted a folder or nothing there, got a file")
    there = sorted(inside.name for inside in path.iterdir()) if path.exists() else []
    if there and replaces not in there:
        raise FileExistsError(f"{path}: wanted nothing there or a folder with {replaces}, got one with {there[:5]}")
    if there and other is not None and (found := other(path)) is not None:
        raise FileExistsError(f"{path}: wanted nothing there or a folder of the same kind, got {found} ({there[:5]})")
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}{MARK}", dir=path.parent))
    try:
        yield partial
        partial.chmod(0o755)
        for inside in sorted(partial.rglob("*")):
            _flush(inside)
        _flush(partial)
        if not os.path.lexists(path):
            partial.rename(path)
        elif not _exchange(partial, path):
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}{MARK}old-", dir=path.parent))
            path.rename(old / path.name)
            partial.rename(path)
            _remove(old)
        _flush(path.parent)
    finally:
        if os.path.lexists(partial):  # what was not finished, or after an exchange what was there before
            _remove(partial)
