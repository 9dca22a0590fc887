import importlib.metadata
from pathlib import Path

import pytest

from jaxemb.data import sources


def fill(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("")


def distribution(root: Path, name: str, *requirements: str) -> None:
    folder = root / f"{name.replace('-', '_')}-1.0.dist-info"
    folder.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {r}" for r in requirements)]
    (folder / "METADATA").write_text("\n".join(lines) + "\n")


def test_what_a_folder_offers(tmp_path):
    kept = ["alone.py", "pack/__init__.py", "pack/deep/testament.py", "unittest/case.py"]
    left_out = [
        "pack/data.txt",
        "pack/tests/a.py",
        "pack/test_a.py",
        "pack/a_test.py",
        "pack/conftest.py",
        "pack/testing/a.py",
        "test/a.py",
        "idlelib/idle_test/a.py",
        "site-packages/other/__init__.py",
        "config-3.11/python-config.py",
        "pack/class.py",
        "_sysconfigdata__linux.py",
    ]
    fill(tmp_path, *kept, *left_out)
    assert sources.folder(tmp_path) == [
        ("alone", tmp_path, ("alone.py",)),
        ("pack", tmp_path, ("pack/__init__.py", "pack/deep/testament.py")),
        ("unittest", tmp_path, ("unittest/case.py",)),
    ]


def test_no_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"no folder of Python packages: .*nowhere"):
        sources.folder(tmp_path / "nowhere")


def test_dependencies_follow_the_extras_that_were_asked_for(tmp_path, monkeypatch):
    distribution(
        tmp_path,
        "Xx.Root",
        "xx_plain>=1",
        "xx-fast[Quick_One]; extra == 'speed'",
        "xx-docs; extra == 'docs'",
        "xx-gone; extra == 'speed'",
    )
    distribution(tmp_path, "xx-plain", "xx-root", "xx-fast", 'xx-old; python_version < "3"')
    distribution(tmp_path, "xx-fast", 'xx-quick; extra == "quick-one"', 'xx-slow; extra == "slow"')
    for name in ("xx-docs", "xx-quick", "xx-slow"):
        distribution(tmp_path, name)
    monkeypatch.syspath_prepend(str(tmp_path))

    def names(*extras):
        return [found.name for found in sources.dependencies("xx-root", extras)]

    assert names() == ["xx-fast", "xx-plain"]
    assert names("speed") == ["xx-fast", "xx-plain", "xx-quick"]
    assert names("docs") == ["xx-docs", "xx-fast", "xx-plain"]
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        sources.dependencies("xx-nowhere", ())


def test_this_environment():
    found = sources.installed()
    packages = {source.package for source in found}
    assert {"json", "argparse", "numpy", "jax", "flax", "grain"} <= packages
    assert not {"jaxemb", "pytest", "hypothesis", "beartype", "test", "torch"} & packages
    assert all((source.root / source.files[0]).is_file() for source in found)
