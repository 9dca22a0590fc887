"""Model folders to one, tensor by tensor: one tensor of each model is in memory at a time, never a model.

An operator that sees whole models as directions reads them twice: once for their inner products, once for the sum.
"""

import hashlib
import json
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxemb import atomic, merge, progress
from jaxemb.model.folder import load, save
from jaxemb.model.spec import Model, combined
from jaxemb.types import Params

WEIGHTS = "*.safetensors"
ALIGNED = 8  # bytes that a safetensors header ends at
DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32"}
RESCALES = ("inverse", "l1", "l2", "none")
MERGED = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True, kw_only=True)
class Merging:
    """How models become one.

    operator: a name of `OPERATORS`.
    weights: one a model; for `slerp` one number, how far to go from the first to the second.  All alike by default.
    scale: of the merged task vector.
    density: the share of each tensor's numbers that is kept.
    spread: of `della`: how much more often large numbers are kept than small ones.
    outliers: of `breadcrumbs`: the share of the very largest that is left out.
    rescale: of what is dropped at random: `inverse`, `l1`, `l2`, or `none`.
    selected: of `sce`: the share of numbers that count, those in which models differ most.
    per_tensor: whether directions are each tensor's own, as mergekit has them, and not the whole models'.
    seed: of what is dropped at random; every tensor of every model draws by its own name.
    """

    operator: str = "average"
    weights: tuple[float, ...] = ()
    scale: float = 1.0
    density: float | None = None
    spread: float = 0.15
    outliers: float = 0.01
    rescale: str = "inverse"
    selected: float = 1.0
    per_tensor: bool = False
    seed: int = 0


class Operator(NamedTuple):
    """An operator over one tensor of each model, or over all of them as directions.

    based: whether it merges what was added to a base.
    tensor: (how, base or None, models, key) -> merged, all of them trees of one leaf.
    coefficients: (how, inner products of models or task vectors) -> what each is multiplied with.
    """

    based: bool
    tensor: Callable[[Merging, Params | None, list[Params], Array], Params] | None = None
    coefficients: Callable[[Merging, Float[Array, "k k"]], Array] | None = None


def _weights(how: Merging, count: int) -> list[float] | None:
    if how.weights and len(how.weights) != count:
        raise ValueError(f"{how.operator}: wanted {count} weights, one a model, got {len(how.weights)}")
    return list(how.weights) or None


def _random(how: Merging, default: float) -> dict[str, Any]:
    if how.rescale not in RESCALES:
        raise ValueError(f"{how.operator}: wanted a rescale of {', '.join(RESCALES)}, got {how.rescale!r}")
    rescale = None if how.rescale == "none" else how.rescale
    return {"density": default if how.density is None else how.density, "scale": how.scale, "rescale": rescale}


def _average(how: Merging, base: Params | None, models: list[Params], key: Array) -> Params:
    return merge.average(models, _weights(how, len(models)))


def _arithmetic(how: Merging, base: Params | None, models: list[Params], key: Array) -> Params:
    assert base is not None
    weights = _weights(how, len(models)) or [1 / len(models)] * len(models)
    return merge.task_arithmetic(base, models, [how.scale * weight for weight in weights])


def _ties(how: Merging, base: Params | None, models: list[Params], key: Array) -> Params:
    assert base is not None
    density = 0.2 if how.density is None else how.density
    return merge.ties(base, models, _weights(how, len(models)), density=density, scale=how.scale)


def _dare(how: Merging, base: Params | None, models: list[Params], key: Array, *, elect: bool) -> Params:
    assert base is not None
    return merge.dare(base, models, _weights(how, len(models)), key=key, elect=elect, **_random(how, 0.5))


def _della(how: Merging, base: Params | None, models: list[Params], key: Array, *, elect: bool) -> Params:
    assert base is not None
    given = {**_random(how, 0.5), "spread": how.spread}
    return merge.della(base, models, _weights(how, len(models)), key=key, elect=elect, **given)


def _breadcrumbs(how: Merging, base: Params | None, models: list[Params], key: Array, *, elect: bool) -> Params:
    assert base is not None
    density = 0.9 if how.density is None else how.density
    given: dict[str, Any] = {"density": density, "outliers": how.outliers, "scale": how.scale, "elect": elect}
    return merge.breadcrumbs(base, models, _weights(how, len(models)), **given)


def _sce(how: Merging, base: Params | None, models: list[Params], key: Array) -> Params:
    assert base is not None
    return merge.sce(base, models, selected=how.selected)


def _slerp(how: Merging, products: Float[Array, "k k"]) -> Array:
    if len(products) != 2 or len(how.weights) > 1:
        raise ValueError(f"slerp: wanted 2 models and 1 weight, got {len(products)} and {len(how.weights)}")
    t = how.weights[0] if how.weights else 0.5
    return jnp.stack(merge.slerp_coefficients(products[0, 0] * products[1, 1], products[0, 1], t))


def _positive(how: Merging, products: Float[Array, "k k"]) -> Float[np.ndarray, " k"]:
    return merge.positive(how.operator, [{}] * len(products), _weights(how, len(products)))


def _stock(how: Merging, products: Float[Array, "k k"]) -> Array:
    if len(products) < 2:
        raise ValueError(f"model-stock: wanted two models or more, got {len(products)}")
    return merge.model_stock_coefficients(products)


OPERATORS: Mapping[str, Operator] = {
    "average": Operator(False, _average),
    "slerp": Operator(False, coefficients=_slerp),
    "karcher": Operator(
        False, coefficients=lambda how, products: merge.karcher_coefficients(products, _positive(how, products))
    ),
    "task-arithmetic": Operator(True, _arithmetic),
    "ties": Operator(True, _ties),
    "dare": Operator(True, partial(_dare, elect=False)),
    "dare-ties": Operator(True, partial(_dare, elect=True)),
    "della": Operator(True, partial(_della, elect=True)),
    "della-linear": Operator(True, partial(_della, elect=False)),
    "breadcrumbs": Operator(True, partial(_breadcrumbs, elect=False)),
    "breadcrumbs-ties": Operator(True, partial(_breadcrumbs, elect=True)),
    "sce": Operator(True, _sce),
    "model-stock": Operator(True, coefficients=_stock),
    "multi-slerp": Operator(
        True, coefficients=lambda how, products: merge.multi_slerp_coefficients(products, _positive(how, products))
    ),
    "slerp-fold": Operator(
        True,
        coefficients=lambda how, products: merge.fold_coefficients(products, jnp.asarray(_positive(how, products))),
    ),
}
"""By the names that the command has."""


def merge_folders(folders: Sequence[Path], out: Path, how: Merging, *, base: Path | None = None) -> None:
    """Merge the weights of model folders; all else, as pooling, prompts and tokenizer, is the first one's.

    Tensors have the dtype of the first model's.  Those of whole numbers cannot be merged: they have to be the same.

    Args:
      base: what task vectors are differences from.
      out: the folder to write, whole or not at all.
    Raises: ValueError for an operator that there is not, a base too few or too many, models whose shape, pooling,
      prompts, lengths or tokenizer differ, a model that is the base, and what the operator raises; the tensor is named.
    """
    if how.operator not in OPERATORS:
        raise ValueError(f"no operator {how.operator!r}; there are {', '.join(OPERATORS)}")
    operator = OPERATORS[how.operator]
    everyone = [*([base] if base is not None else []), *folders]
    if len(folders) < 2:
        raise ValueError(f"wanted two models or more, got {len(folders)}")
    if Path(out).resolve() in {folder.resolve() for folder in everyone}:
        raise ValueError(f"--out is one of the models: {out}; write elsewhere")
    if (base is not None) != operator.based:
        wanted = "wanted --base, the model that the others were trained from" if operator.based else "takes no --base"
        raise ValueError(f"{how.operator}: {wanted}")
    same_kind([*folders, *([base] if base is not None else [])])
    with ExitStack() as stack:
        copies = alike(everyone, stack)
        files = weight_files(copies)
        models = [[stack.enter_context(opened(folder / file)) for folder in copies] for file in files]
        merged = _tensor_merge(how, operator, models, everyone)
        with atomic.folder(out, replaces="config.json") as partial_folder:
            shutil.copytree(
                copies[operator.based], partial_folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(WEIGHTS)
            )
            with progress.bar("merge", sum(len(_names(ones[0])) for ones in models)) as advance:
                for file, ones in zip(files, models, strict=True):
                    first = ones[operator.based]
                    _write(partial_folder / file, first, partial(merged, ones), advance)


def same_kind(folders: Sequence[Path]) -> None:
    """Whether models can be merged, of which one is in memory at a time.  Raises: ValueError."""
    kept: list[Model] = []
    for folder in folders:
        kept.append(load(folder)._replace(params={}))
        combined(kept[:1] + kept[-1:], {})


def alike(folders: Sequence[Path], stack: ExitStack) -> list[Path]:
    """The folders, or copies that name their tensors alike where these do not, as other libraries and versions do."""
    if len({_signature(folder) for folder in folders}) == 1:
        return list(folders)
    copies = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    for place, folder in enumerate(folders):
        save(load(folder), copies / str(place))
    return [copies / str(place) for place in range(len(folders))]


def _signature(folder: Path) -> tuple[Any, ...]:
    """Files, and names and shapes of what is in them."""
    found = []
    for file in weight_files([folder]):
        with opened(folder / file) as one:
            found.append((file, *((name, tuple(one.get_slice(name).get_shape())) for name in _names(one))))
    return tuple(found)


def weight_files(folders: Sequence[Path]) -> list[Path]:
    """Weight files by their place inside the folders, which all have alike.  Raises: ValueError."""
    found = [sorted(path.relative_to(folder) for path in folder.rglob(WEIGHTS)) for folder in folders]
    for folder, files in zip(folders, found, strict=True):
        if files != found[0] or not files:
            raise ValueError(
                f"{folder}: wanted weights in {[str(path) for path in found[0]] or WEIGHTS}, as in {folders[0]}, got "
                f"{[str(path) for path in files]}"
            )
    return found[0]


def _names(one: Any) -> list[str]:
    return sorted(one.keys())


def opened(file: Path) -> Any:
    """A safetensors file whose tensors are read when they are asked for, as JAX arrays."""
    from safetensors import safe_open

    return safe_open(file, framework="flax")


def _tensor_merge(
    how: Merging, operator: Operator, models: Sequence[Sequence[Any]], folders: Sequence[Path]
) -> Callable[[Sequence[Any], str], Array]:
    """(one opened file a model, name) -> the merged tensor."""
    coefficients = None
    if operator.coefficients is not None and not how.per_tensor:
        products = [products_of(ones, name, based=operator.based) for ones in models for name in floats(ones)]
        total = jnp.stack(products).sum(axis=0)
        if operator.based:
            _check_moved([float(square) > 0 for square in jnp.diagonal(total)], folders)
        coefficients = list(operator.coefficients(how, total))
    elif operator.based:
        _check_moved([_differs(models, place) for place in range(1, len(folders))], folders)

    def merged(ones: Sequence[Any], name: str) -> Array:
        tensors = [one.get_tensor(name) for one in ones]
        first = tensors[1 if operator.based else 0]
        if not jnp.issubdtype(first.dtype, jnp.floating):
            if any(not bool((tensor == first).all()) for tensor in tensors):
                raise ValueError(f"{name}: whole numbers that differ between models, and cannot be merged")
            return first
        trees = [{"tensor": tensor} for tensor in tensors]
        base, tuned = (trees[0], trees[1:]) if operator.based else (None, trees)
        try:
            result = _one(how, operator, coefficients, base, tuned, _key(how.seed, name))["tensor"]
        except ValueError as wrong:
            raise ValueError(f"{name}: {wrong}") from wrong
        return result.astype(first.dtype)

    return merged


def _one(
    how: Merging,
    operator: Operator,
    coefficients: list[Array] | None,
    base: Params | None,
    models: list[Params],
    key: Array,
) -> Params:
    if operator.tensor is not None:
        return operator.tensor(how, base, models, key)
    assert operator.coefficients is not None
    vectors = models if base is None else merge.added(base, models)
    if coefficients is None:
        products = merge.gram(vectors)
        if not bool((jnp.diagonal(products) > 0).all()):
            return merge.average(models)  # a tensor that one of them left as it was has no direction
        coefficients = list(operator.coefficients(how, products))
    joined = merge.combination(vectors, coefficients)
    return joined if base is None else merge.moved(base, joined, how.scale)


def floats(ones: Sequence[Any]) -> Iterator[str]:
    """Names of the tensors of floats, which are the ones that are merged."""
    return (name for name in _names(ones[0]) if ones[0].get_slice(name).get_dtype() in MERGED)


def products_of(ones: Sequence[Any], name: str, *, based: bool) -> Float[Array, "k k"]:
    """Inner products of one tensor of all models; where `based`, of what the others added to the first."""
    trees = [{"tensor": one.get_tensor(name)} for one in ones]
    return merge.gram(merge.added(trees[0], trees[1:]) if based else trees)


def _differs(models: Sequence[Sequence[Any]], place: int) -> bool:
    """Whether a model differs from the base in any number."""
    return any(
        not bool((ones[0].get_tensor(name) == ones[place].get_tensor(name)).all())
        for ones in models
        for name in floats(ones)
    )


def _check_moved(moved: Sequence[bool], folders: Sequence[Path]) -> None:
    if not all(moved):
        raise ValueError(f"{folders[1 + list(moved).index(False)]}: is the base itself, and has no task vector")


def _key(seed: int, name: str) -> Array:
    """Of a tensor's own, so that neither the order of tensors nor their number changes what is drawn."""
    digest = hashlib.sha256(name.encode()).digest()
    return jax.random.fold_in(jax.random.key(seed), struct.unpack("<I", digest[:4])[0])


def _write(file: Path, first: Any, tensor: Callable[[str], Array], advance: Callable[..., None]) -> None:
    """A safetensors file of the same names, shapes and dtypes as `first`, one tensor after another."""
    header: dict[str, Any] = {"__metadata__": first.metadata() or {"format": "pt"}}
    place = 0
    names = _names(first)
    for name in names:
        part = first.get_slice(name)
        size = int(np.prod(part.get_shape(), dtype=np.int64)) * _width(part.get_dtype())
        header[name] = {"dtype": part.get_dtype(), "shape": part.get_shape(), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNED)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            value = np.ascontiguousarray(np.asarray(tensor(name)))
            if DTYPES[str(value.dtype)] != header[name]["dtype"] or list(value.shape) != list(header[name]["shape"]):
                raise ValueError(f"{name}: wanted {header[name]}, got {value.dtype} {list(value.shape)}")
            stream.write(value.view(np.uint8).data if value.size else b"")
            advance(1)


def _width(dtype: str) -> int:
    return {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2}[dtype]
