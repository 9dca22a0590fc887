import re
import shutil
import subprocess

import pytest

from jaxemb.data import apt


def line(kind, file, *, origin="Debian", label="Debian", component="main", release="trixie", architecture="arm64"):
    where = (architecture, "") if kind == "Packages" else ("", "en")
    return "\t".join([kind, origin, label, component, release, *where, file])


def test_of_all_sources_the_release_is_chosen():
    targets = [
        line("Packages", "security", label="Debian-Security", release="trixie-security"),
        line("Packages", "updates", release="trixie-updates"),
        line("Packages", "wanted"),
        line("Packages", "other machine", architecture="i386"),
        line("Packages", "not free", component="non-free"),
        line("Packages", "someone's", origin="Someone"),
        line("Translations", "words"),
        line("Translations", "palabras").replace("\ten\t", "\tes\t"),
        line("DEP-11", "icons").replace("\ten\t", "\t\t"),
    ]
    assert apt.chosen("\n".join(targets), "arm64") == ("wanted", "words")


@pytest.mark.parametrize(
    ("targets", "got"),
    [
        ([], "none"),
        ([line("Packages", "a"), line("Packages", "b", release="forky"), line("Translations", "c")], "['forky', 'tr"),
        ([line("Packages", "a")], "['trixie']"),
    ],
)
def test_no_release_or_several_are_refused(targets, got):
    told = f"wanted one release of Debian, main, arm64, among apt's sources, got {got}"
    with pytest.raises(ValueError, match=re.escape(told)):
        apt.chosen("\n".join(targets), "arm64")


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "jaxemb" / "sources"


def test_where_there_is_no_apt_what_to_give_is_told(no_cache, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match="give a folder with its files Packages and Translation-en"):
        apt.index()
    with pytest.raises(FileNotFoundError, match=r"no apt-get here .* give the folder usr/share/wordnet of it"):
        apt.package("wordnet-base", "usr/share/wordnet")


def test_what_apt_writes_is_kept_and_used_again(no_cache, monkeypatch):
    calls = []

    def run(command, *, cwd, **_):
        calls.append(command[0] if command[0] == "dpkg" else command[3])
        options = (cwd / "options").read_text()
        assert f'lists "{cwd}/lists"' in options
        told = {
            "indextargets": "\n".join([line("Packages", "p"), line("Translations", "t")]).encode(),
            "dpkg": b"arm64\n",
            "cat-file": f"content of {command[-1]}".encode(),
        }.get(calls[-1], b"")
        return subprocess.CompletedProcess(command, 0, told, b"")

    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(subprocess, "run", run)
    kept = apt.index()
    assert calls == ["update", "indextargets", "dpkg", "cat-file", "cat-file"]
    assert sorted(each.name for each in kept.iterdir()) == ["Packages.gz", "Translation-en.gz"]
    assert apt.gzip.decompress((kept / "Translation-en.gz").read_bytes()) == b"content of t"
    assert list(no_cache.iterdir()) == [kept]  # apt's own folder went
    assert apt.index() == kept
    assert len(calls) == 5


def test_what_apt_says_when_it_fails_is_told(no_cache, monkeypatch):
    failed = subprocess.CompletedProcess([], 100, b"", b"E: no network\n")
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(subprocess, "run", lambda *command, **how: failed)
    with pytest.raises(RuntimeError, match=r"(?s)apt-get update failed; give a folder .*E: no network"):
        apt.index()
    assert not list(no_cache.iterdir())
