"""The modules of a sentence-transformers folder: the list, and what each after the first says and holds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxemb import checkpoint
from jaxemb import encode as encoders
from jaxemb.encode import project
from jaxemb.model import settings
from jaxemb.types import Params

SENTENCE, TOKEN = "sentence_embedding", "token_embeddings"
"""What a module may be told to work on: a text's vector, or those of its tokens."""


class Listed(NamedTuple):
    """A row of `modules.json`: the class's name, and the folder with what the module needs."""

    kind: str
    folder: Path


class Pooled(NamedTuple):
    """What a Pooling module says.

    names: of the poolings whose vectors are joined.
    include_prompt: whether the tokens of a prompt count.
    size: of the states that are pooled; None where nothing says it.
    """

    names: tuple[str, ...]
    include_prompt: bool
    size: int | None


PACKAGES = ("sentence_transformers.", "pylate.")
"""Whose classes are known; one of a folder's own code is another, whatever its name."""


def listed(folder: Path) -> list[Listed]:
    """The modules of a folder, in order; the package of a class moved between generations, its name did not.

    Raises: ValueError for a list that is no list, and a module that lies outside the folder, is made by code that may
      come with it, or takes arguments that are not known.
    """
    file = folder / "modules.json"
    rows = settings.content(file)
    if not isinstance(rows, list):
        raise ValueError(f"{file}: wanted a list of modules, got {str(rows)[:60]!r}")
    for row in rows:
        _check_row(folder, file, row)
    rows = sorted(rows, key=lambda row: row["idx"])
    return [Listed(row["type"].rpartition(".")[2], folder / row["path"]) for row in rows]


def _check_row(folder: Path, file: Path, row: Any) -> None:
    kinds = {"idx": int, "path": str, "type": str}
    if not isinstance(row, dict) or not all(isinstance(row.get(key), kind) for key, kind in kinds.items()):
        raise ValueError(f"{file}: a module needs a number idx and texts path and type, got {row}")
    settings.checked(file, row, {**dict.fromkeys(kinds, ()), "name": (), "kwargs": (None, [])})
    if not row["type"].startswith(PACKAGES):
        raise ValueError(f"{file}: a module's class must be of {' or '.join(PACKAGES)}, got {row['type']!r}")
    if not (folder / row["path"]).resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{file}: a module's path must lie inside, got {row['path']!r}")


_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""How folders written before release 5.4 name poolings, in the order in which they join several."""
_FIRST_FLAGS = tuple(_FLAGS)[:4]
"""Those that every release knows."""


def read_pooling(folder: Path) -> Pooled:
    """A Pooling module, of either generation.  Raises: ValueError that names what is unknown."""
    file = folder / "config.json"
    told = settings.checked(
        file,
        settings.read(file),
        {
            "embedding_dimension": (),
            "word_embedding_dimension": (),
            "pooling_mode": (),
            "include_prompt": (),
            **dict.fromkeys(_FLAGS, (True, False)),
        },
    )
    if "pooling_mode" in told:
        told_names = told["pooling_mode"]
        names = tuple(told_names) if isinstance(told_names, list) else (told_names,)
    else:  # the library takes the mean where no flag is set
        names = tuple(name for flag, name in _FLAGS.items() if told.get(flag)) or ("mean",)
    if not names or any(not isinstance(name, str) or name not in encoders.POOLINGS for name in names):
        raise ValueError(f"{file}: pooling_mode must be one of {list(encoders.POOLINGS)}, or several, got {names}")
    size = "embedding_dimension" if "embedding_dimension" in told else "word_embedding_dimension"
    include_prompt = settings.truth(file, told, "include_prompt", True)
    return Pooled(names, include_prompt, settings.number(file, told, size))


def pooling_settings(names: tuple[str, ...], include_prompt: bool, size: int) -> dict[str, Any]:
    """`config.json` of a Pooling module, as every release reads it that knows such a pooling."""
    told: dict[str, Any] = {"word_embedding_dimension": size}
    if names == tuple(name for name in _FLAGS.values() if name in names):
        told |= {flag: name in names for flag, name in _FLAGS.items() if flag in _FIRST_FLAGS or name in names}
    else:  # an order that flags cannot say
        told |= {"pooling_mode": list(names)}
    return told if include_prompt else {**told, "include_prompt": False}


def read(module: Listed, on: str) -> tuple[encoders.Module, Params]:
    """A Dense, LayerNorm or Normalize module and its params.

    Args:
      on: what it must work on, `SENTENCE` or `TOKEN`.
    Raises: ValueError that names an unknown setting, or weights that do not fit.
    """
    config = _READERS[module.kind](module.folder / "config.json", on)
    return config, _params(config, module.folder)


def _placed(on: str) -> dict[str, tuple[Any, ...]]:
    return {"module_input_name": (on,), "module_output_name": (on, None)}


def _dense(file: Path, on: str) -> encoders.DenseConfig:
    known = ("in_features", "out_features", "bias", "activation_function", "use_residual")
    told = settings.checked(file, settings.read(file), {**dict.fromkeys(known, ()), **_placed(on)})
    name = told.get("activation_function", "torch.nn.modules.activation.Tanh")
    if not isinstance(name, str) or not name.startswith("torch.nn."):
        raise ValueError(f"{file}: activation_function must be a class of torch.nn, got {name!r}")
    try:
        return encoders.DenseConfig(
            in_features=settings.number(file, told, "in_features"),
            out_features=settings.number(file, told, "out_features"),
            bias=settings.truth(file, told, "bias", True),
            activation=name.rpartition(".")[2],
            residual=settings.truth(file, told, "use_residual", False),
        )
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _layer_norm(file: Path, on: str) -> encoders.LayerNormConfig:
    if on != SENTENCE:
        raise ValueError(f"{file}: LayerNorm works on a text's vector alone, wanted one for {on}")
    told = settings.checked(file, settings.read(file), {"dimension": ()})
    return encoders.LayerNormConfig(dimension=settings.number(file, told, "dimension"))


def _normalize(file: Path, on: str) -> encoders.NormalizeConfig:
    told = settings.checked(file, settings.read(file, {}), _placed(on))
    if on != SENTENCE and "module_input_name" not in told:
        raise ValueError(f"{file}: module_input_name must be {on!r}; without one, {SENTENCE!r} is meant")
    return encoders.NormalizeConfig()


_READERS: dict[str, Callable[[Path, str], encoders.Module]] = {
    "Dense": _dense,
    "LayerNorm": _layer_norm,
    "Normalize": _normalize,
}


def _params(config: encoders.Module, folder: Path) -> Params:
    if isinstance(config, encoders.NormalizeConfig):
        return {}
    entries = project.keys(config)
    like = jax.eval_shape(project.of_rows(config).init, jax.random.key(0))
    try:
        return checkpoint.from_foreign(checkpoint.read_weights(folder), entries, like)
    except ValueError as error:
        raise ValueError(f"{folder.name}: {error}") from error


def module_settings(config: encoders.Module, on: str = SENTENCE) -> dict[str, Any]:
    """`config.json` of a module; keys that early releases do not know are left out where they say nothing."""
    placed = {} if on == SENTENCE else {"module_input_name": on, "module_output_name": on}
    if isinstance(config, encoders.NormalizeConfig):
        return placed
    if isinstance(config, encoders.LayerNormConfig):
        return {"dimension": config.dimension}
    package = "linear" if config.activation == "Identity" else "activation"
    return {
        "in_features": config.in_features,
        "out_features": config.out_features,
        "bias": config.bias,
        "activation_function": f"torch.nn.modules.{package}.{config.activation}",
        **({"use_residual": True} if config.residual else {}),
        **placed,
    }


KINDS = {
    encoders.DenseConfig: "Dense",
    encoders.LayerNormConfig: "LayerNorm",
    encoders.NormalizeConfig: "Normalize",
}
"""The names of the classes in `modules.json`."""
