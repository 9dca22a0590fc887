"""A missing optional package is named with the command that brings it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jaxemb import extras

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


@pytest.mark.parametrize(("package", "extra"), extras.EXTRA.items())
def test_a_missing_package_names_its_extra(package, extra):
    """In a fresh interpreter in which the package cannot be found, as on a machine that lacks it."""
    program = (
        "import sys\n"
        "from importlib.abc import MetaPathFinder\n"
        "class Missing(MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name.partition('.')[0] == {package!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from jaxemb import extras\n"
        f"extras.load({package + '.part'!r})\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f"ImportError: {package} is not installed" in ended.stderr
    assert f"pip install 'jaxemb[{extra}]'" in ended.stderr


def test_a_package_that_breaks_inside_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "scipy_broken.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(extras.EXTRA, "scipy_broken", "bench")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        extras.load("scipy_broken")


PROJECTS = {"PIL": "pillow", "sklearn": "scikit-learn", "lance": "lance-ray", "faiss": "faiss-cpu"}
"""What is installed for a package of another name, or brings it along."""


@pytest.mark.parametrize(("package", "extra"), extras.EXTRA.items())
def test_an_extra_brings_what_it_is_named_for(package, extra):
    extra_of = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    names = [re.match(r"[\w-]+", one).group() for one in extra_of[extra]]
    assert PROJECTS.get(package, package.replace("_", "-")) in names
