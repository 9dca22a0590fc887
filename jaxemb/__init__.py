"""The JAX home for embedding models: build, train, merge, compress, index and measure them.

A folder is named for what it turns into what; each loads when it is first
touched, so that `import jaxemb` costs nothing.
"""

import importlib
from types import ModuleType

__version__ = "0.1.0"

_PARTS = (
    "checkpoint",
    "compress",
    "data",
    "encode",
    "evaluate",
    "harness",
    "index",
    "losses",
    "merge",
    "model",
    "recipes",
    "similarity",
    "train",
    "types",
)
__all__ = ["__version__", *_PARTS]


def __getattr__(name: str) -> ModuleType:
    if name not in _PARTS:
        raise AttributeError(f"module 'jaxemb' has no attribute {name!r}; it has {', '.join(_PARTS)}")
    return importlib.import_module(f"jaxemb.{name}")


def __dir__() -> list[str]:
    return sorted(__all__)
