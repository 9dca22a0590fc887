"""Optional packages, loaded where they are used; one that is missing is named with the command that brings it."""

import importlib
from types import ModuleType

EXTRA = {
    "scann": "index",
    "faiss": "index",
    "usearch": "index",
    "hnswlib": "peers",
    "h5py": "bench",
    "tensorflow_datasets": "data",
    "array_record": "data",
    "grain": "data",
    "pyarrow": "data",
    "bm25s": "bench",
    "ir_measures": "bench",
    "matplotlib": "bench",
    "jinja2": "bench",
    "scipy": "bench",
    "sklearn": "evaluate",
    "PIL": "images",
    "tensorboardX": "train",
    "gguf": "formats",
    "onnx": "formats",
    "mteb": "parity",
    "lance": "scale",
}

INSTEAD = {"scann": "; its wheels are for Linux, up to Python 3.13: elsewhere take the index kind 'exact'"}
"""What else helps, where the command may not."""


def load(module: str) -> ModuleType:
    """Import `module`, which may be dotted.

    Raises: ImportError that names the extra to install, when the package is not there.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] != package:
            raise
        extra = EXTRA[package]
        raise ImportError(
            f"{package} is not installed; it comes with the extra {extra!r}: pip install 'jaxemb[{extra}]'"
            f"{INSTEAD.get(package, '')}"
        ) from missing
