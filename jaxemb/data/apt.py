"""What a Debian system's own `apt` can fetch for a data set, without changing the system and without its rights.

`apt` works in a folder of its own, which goes when it is done; what is fetched stays in the user's cache folder and is
used again.  Remove it from there to fetch it anew.
"""

import contextlib
import gzip
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from jaxemb import atomic, progress

Call = Callable[..., bytes]
"""A command and its arguments to what it wrote to standard output."""

HELPER = "/usr/lib/apt/apt-helper"
FIELDS = ("CREATED_BY", "ORIGIN", "LABEL", "COMPONENT", "CODENAME", "ARCHITECTURE", "LANGUAGE", "FILENAME")


def cache_folder() -> Path:
    """Where what was fetched is kept: `jaxemb/sources` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxemb" / "sources"


def index() -> Path:
    """The folder with `Packages.gz` and `Translation-en.gz` of the machine's Debian release.

    Of its component `main` and the machine's architecture, without updates that are published apart.

    Raises: FileNotFoundError where there is no `apt-get`, with what to give instead; ValueError where `apt` knows no
      release of Debian, or several; RuntimeError with what `apt` said when it fails.
    """
    kept = cache_folder() / "debian"
    if kept.is_dir():
        return kept
    with _apt("the Debian package index", "a folder with its files Packages and Translation-en") as (_, call):
        told = call("apt-get", "indextargets", "--format", "\t".join(f"$({field})" for field in FIELDS)).decode()
        packages, translation = chosen(told, call("dpkg", "--print-architecture").decode().strip())
        with atomic.folder(kept, replaces="Packages.gz") as partial:
            for name, file in (("Packages", packages), ("Translation-en", translation)):
                content = call(HELPER, "cat-file", file)
                (partial / f"{name}.gz").write_bytes(gzip.compress(content, compresslevel=4, mtime=0))
    return kept


def chosen(targets: str, architecture: str) -> tuple[str, str]:
    """The files of the package index and of its English descriptions, among lines of `FIELDS` with tabs between.

    Raises: ValueError unless they are of one Debian release.
    """
    found: dict[str, dict[str, str]] = {"Packages": {}, "Translations": {}}
    for line in targets.splitlines():
        at = dict(zip(FIELDS, line.split("\t"), strict=True))
        kind, release = at["CREATED_BY"], at["CODENAME"]
        ours = (at["ORIGIN"], at["LABEL"], at["COMPONENT"]) == ("Debian", "Debian", "main") and "-" not in release
        right = at["ARCHITECTURE"] == architecture if kind == "Packages" else at["LANGUAGE"] == "en"
        if ours and right and kind in found:
            found[kind][release] = at["FILENAME"]
    if not len(found["Packages"]) == len(found["Translations"]) == 1:
        known = sorted(set(found["Packages"]) | set(found["Translations"]))
        raise ValueError(
            f"wanted one release of Debian, main, {architecture}, among apt's sources, got {known or 'none'}: "
            "give a folder with the files Packages and Translation-en"
        )
    return next(iter(found["Packages"].values())), next(iter(found["Translations"].values()))


def package(name: str, path: str) -> Path:
    """A folder inside a Debian package, unpacked in the cache: nothing is installed.

    Args:
      path: of the folder in the package, as `usr/share/wordnet`.
    Raises: FileNotFoundError where there is no `apt-get`, or no such folder in the package; RuntimeError with what
      `apt` said when it fails.
    """
    kept = cache_folder() / name
    if kept.is_dir():
        return kept
    with _apt(f"the Debian package {name}", f"the folder {path} of it") as (work, call):
        call("apt-get", "download", name)
        call("dpkg", "-x", str(next(work.glob("*.deb"))), "unpacked")
        if not (work / "unpacked" / path).is_dir():
            raise FileNotFoundError(f"the Debian package {name} has no folder {path}")
        inside = sorted(each.name for each in (work / "unpacked" / path).iterdir())
        with atomic.folder(kept, replaces=inside[0]) as partial:
            shutil.copytree(work / "unpacked" / path, partial, dirs_exist_ok=True)
    return kept


@contextlib.contextmanager
def _apt(what: str, instead: str) -> Iterator[tuple[Path, Call]]:
    """A folder that goes when it is done, and calls in it, where `apt` has just read what there is."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise FileNotFoundError(f"no apt-get here to fetch {what} with: give {instead}")
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".apt-", dir=cache_folder()) as made:
        work = Path(made)
        for folder in ("lists/partial", "cache/archives/partial"):
            (work / folder).mkdir(parents=True)
        (work / "options").write_text(
            # Small images ask for no language at all; `#clear` is read in a file only, not from the command line.
            "#clear Acquire::Languages;\n"
            'Acquire::Languages { "en"; };\n'
            f'Dir::State::lists "{work}/lists";\n'
            f'Dir::Cache "{work}/cache";\n'
            'APT::Sandbox::User "root";\n'  # its own user could not read our folder
        )

        def call(command: str, *arguments: str) -> bytes:
            settings = ["-c", str(work / "options")] if command != "dpkg" else []
            full = [command, *settings, *arguments]
            done = subprocess.run(full, cwd=work, env={**os.environ, "LC_ALL": "C"}, capture_output=True, check=False)
            if done.returncode:
                told = done.stderr.decode(errors="replace")[-1000:]
                raise RuntimeError(f"fetching {what}: {' '.join([command, *arguments])} failed; give {instead}\n{told}")
            return done.stdout

        progress.say(f"fetching {what} with apt-get")
        call("apt-get", "update")
        yield work, call
