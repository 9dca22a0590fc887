"""Params to disk and back: foreign weights by a key map, and training checkpoints by orbax."""

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxemb import atomic
from jaxemb.types import Entry, Params


def leaves(params: Params) -> dict[str, Any]:
    """Every leaf by its dotted path, in sorted order.

    >>> list(leaves({"b": {"y": 1}, "a": 2}))
    ['a', 'b.y']
    """
    flat = jax.tree_util.tree_flatten_with_path(params)[0]
    return {".".join(str(step.key) for step in path): leaf for path, leaf in flat}


def nest(flat: Mapping[str, Any]) -> Params:
    """The inverse of `leaves`.

    >>> nest({"a": 2, "b.y": 1})
    {'a': 2, 'b': {'y': 1}}
    """
    tree: Params = {}
    for path, leaf in flat.items():
        *parents, name = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def read_tensors(file: Path | str) -> dict[str, np.ndarray]:
    """All tensors of a safetensors file.

    Raises: ValueError for any other kind of file: a pickle is refused unopened, by its name.
    """
    from safetensors import SafetensorError, safe_open

    file = Path(file)
    if file.suffix != ".safetensors":
        raise ValueError(f"{file.name}: only .safetensors weights are read; a pickle could run code when it is opened")
    try:
        with safe_open(file, framework="flax") as tensors:
            return {name: np.asarray(tensors.get_tensor(name)) for name in tensors.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{file.name}: not a whole safetensors file ({error})") from error


WEIGHTS = "model.safetensors"
"""The file of a model folder that holds all its tensors."""

INDEX = "model.safetensors.index.json"
"""The file that says which of several files holds which tensor, where they are too large for one."""


def read_weights(folder: Path | str) -> dict[str, np.ndarray]:
    """All tensors of a model folder: those of `model.safetensors`, or of every file that its index lists.

    What checkpoints from TensorFlow call `LayerNorm.gamma` and `LayerNorm.beta` gets today's names.

    Raises: FileNotFoundError for weights or listed files that are not there, naming what is there instead (a pickle is
      never opened); ValueError when both kinds are there, or index and files do not agree tensor by tensor.
    """
    folder = Path(folder)
    single, index = folder / WEIGHTS, folder / INDEX
    if single.is_file() and index.is_file():
        raise ValueError(f"{folder}: wanted {WEIGHTS} or {INDEX}, got both; take away the one that is not meant")
    if single.is_file() or index.is_file():
        return _renamed(read_tensors(single) if single.is_file() else _read_shards(index))
    kinds = {".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5", ".msgpack", ".safetensors"}
    there = sorted(file.name for file in folder.iterdir() if file.suffix in kinds) if folder.is_dir() else []
    raise FileNotFoundError(f"{single}: no such file (found {there or 'no weights'}); pickles are never opened")


_OLD = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


def _renamed(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    renamed: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        end = next((old for old in _OLD if name.endswith(old)), "")
        today = name.removesuffix(end) + _OLD.get(end, "")
        if today in renamed or (end and today in tensors):
            raise ValueError(f"{name} is {today} by an old name, and both are there")
        renamed[today] = tensor
    return renamed


def without_prefix(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Foreign tensors by names without what a checkpoint saved with a head puts before those of its body.

    Raises: ValueError that names a tensor which is there with the prefix and without it.
    """
    bare = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if len(bare) < len(tensors):
        twice = next(name for name in tensors if prefix + name in tensors)
        raise ValueError(f"{twice} is there with {prefix!r} before it and without")
    return bare


def without_copies(
    tensors: Mapping[str, np.ndarray], copies: Mapping[str, str], *, agree: bool = True
) -> dict[str, np.ndarray]:
    """Foreign tensors, each once; one that is only there by its other name gets its own.

    Args:
      copies: the other name -> the name that is kept.
      agree: whether the two must be equal, as tied weights are; otherwise the one that is kept is the one that counts.
    Raises: ValueError that names two which should be equal and are not.
    """
    kept = dict(tensors)
    for copy, name in copies.items():
        if copy not in kept:
            continue
        tensor = kept.pop(copy)
        if agree and not np.array_equal(tensor, kept.setdefault(name, tensor)):
            raise ValueError(f"{copy} and {name} are told to be one, and differ; are they tied by mistake?")
        kept.setdefault(name, tensor)
    return kept


def _read_index(index: Path) -> dict[str, str]:
    """Tensor name -> the file beside the index that holds it."""
    try:
        told = json.loads(index.read_text(encoding="utf-8"))
    except ValueError as error:  # bytes that are no UTF-8, or a text that is no JSON
        raise ValueError(f"{index}: not JSON ({error})") from error
    where = told.get("weight_map") if isinstance(told, dict) else None
    if not isinstance(where, dict) or not where:
        raise ValueError(f"{index}: wanted 'weight_map', from tensor names to files, got {str(told)[:60]}")
    for name, file in where.items():
        if not isinstance(file, str) or Path(file).name != file or "\\" in file:
            raise ValueError(f"{index}: {name} must be in a file of the same folder, got {file!r}")
    return where


def _read_shards(index: Path) -> dict[str, np.ndarray]:
    where = _read_index(index)
    files = sorted(set(where.values()))
    if missing := [file for file in files if not (index.parent / file).is_file()]:
        raise FileNotFoundError(f"{index}: lists files that are not there: {', '.join(missing)}")
    tensors: dict[str, np.ndarray] = {}
    for file in files:
        found = read_tensors(index.parent / file)
        listed = {name for name, place in where.items() if place == file}
        if found.keys() != listed:
            lost, more = sorted(listed - found.keys())[:6], sorted(found.keys() - listed)[:6]
            raise ValueError(
                f"{file}: {index.name} lists {lost or 'nothing'} that it lacks, and not {more or 'nothing'}"
            )
        tensors.update(found)
    return tensors


def write_tensors(tensors: Mapping[str, Any], file: Path | str) -> None:
    """Write a safetensors file, whole or not at all."""
    from safetensors.flax import save_file

    with atomic.file(file) as partial:
        save_file({name: jnp.asarray(tensor) for name, tensor in tensors.items()}, partial, metadata={"format": "pt"})


def _names(entry: Entry, layers: int) -> list[list[str]]:
    """The foreign names of each layer in turn; one list for an entry without layers."""
    if "{layer}" not in entry.theirs[0]:
        return [list(entry.theirs)]
    return [[name.format(layer=entry.first + layer) for name in entry.theirs] for layer in range(layers)]


def _ours(tensor: np.ndarray, entry: Entry) -> np.ndarray:
    """A foreign tensor with our order of axes."""
    if entry.transpose is False:
        return tensor
    return tensor.transpose(None if entry.transpose is True else entry.transpose)


def _theirs(part: np.ndarray, entry: Entry) -> np.ndarray:
    """The inverse of `_ours`."""
    if entry.transpose is False:
        return part
    return part.transpose(None if entry.transpose is True else np.argsort(entry.transpose))


def _split(value: np.ndarray, entry: Entry) -> list[np.ndarray]:
    """One layer of a leaf as its foreign tensors, in the entry's order of names."""
    cuts = len(entry.theirs) if entry.sizes is None else np.cumsum(entry.sizes)[:-1]
    parts = np.split(value, cuts, axis=-1) if entry.theirs[1:] else [value]  # a lone number has no axis
    return [_theirs(part, entry) for part in parts]


def _misfits(
    tensors: Mapping[str, np.ndarray], entry: Entry, layers: list[list[str]], shape: tuple[int, ...]
) -> list[str]:
    """Foreign tensors that do not have the shape which a leaf of `shape` wants of them."""
    one = np.broadcast_to(np.float32(0), shape[1:] if "{layer}" in entry.theirs[0] else shape)
    wanted = [part.shape for part in _split(one, entry)]
    return [
        f"{name}: wanted shape {right}, got {tensors[name].shape}"
        for names in layers
        for name, right in zip(names, wanted, strict=True)
        if tensors[name].shape != right
    ]


def from_foreign(
    tensors: Mapping[str, np.ndarray], keys: Sequence[Entry], like: Params, *, unused: Sequence[str] = ()
) -> Params:
    """Params from foreign tensors by a key map that leaves nothing over on either side.

    Args:
      tensors: foreign name -> array.
      keys: where each leaf comes from.
      like: params, or their shapes, that the result must match; the number of layers and the dtypes come from here,
        so that weights stored in half precision become what the encoder computes with.
      unused: foreign names, with `*` for anything, that may be there and are left out on purpose.
    Raises: ValueError that names every missing tensor, left-over tensor and wrong shape, wanted and got.
    """
    taken = {name for name in tensors if any(fnmatchcase(name, pattern) for pattern in unused)}
    flat: dict[str, np.ndarray] = {}
    problems: list[str] = []
    shapes = {path: tuple(leaf.shape) for path, leaf in leaves(like).items()}
    for entry in keys:
        layers = _names(entry, next(iter(shapes.get(entry.ours, ())), 0))
        wanted = [name for names in layers for name in names]
        taken.update(wanted)
        if missing := [name for name in wanted if name not in tensors]:
            problems += [f"missing {name}" for name in missing]
            continue
        try:
            parts = [[_ours(tensors[n], entry) for n in names] for names in layers]
            joined = [part[0] if len(part) == 1 else np.concatenate(part, axis=-1) for part in parts]
            flat[entry.ours] = np.stack(joined) if "{layer}" in entry.theirs[0] else joined[0]
        except ValueError as error:
            known = entry.ours in shapes
            odd = _misfits(tensors, entry, layers, shapes[entry.ours]) if known else []
            problems += odd or [f"{entry.ours}: {error}"]
    problems += [f"left over {name}" for name in sorted(tensors.keys() - taken)]
    problems += [f"nothing maps to {path}" for path in sorted(shapes.keys() - {entry.ours for entry in keys})]
    problems += [
        f"{path}: wanted numbers of floating point, got {leaf.dtype}"
        for path, leaf in flat.items()
        if not jnp.issubdtype(leaf.dtype, jnp.floating)
    ]
    problems += [
        f"{path}: wanted shape {shapes.get(path)}, got {leaf.shape}"
        for path, leaf in flat.items()
        if shapes.get(path) != leaf.shape
    ]
    if problems:
        more = f" and {len(problems) - 12} more" if len(problems) > 12 else ""
        raise ValueError(f"weights do not fit: {'; '.join(problems[:12])}{more}")
    dtypes = {path: leaf.dtype for path, leaf in leaves(like).items()}
    return nest({path: jnp.asarray(leaf, dtypes[path]) for path, leaf in flat.items()})


def to_foreign(params: Params, keys: Sequence[Entry]) -> dict[str, np.ndarray]:
    """The inverse of `from_foreign`: foreign names and layout."""
    flat = leaves(params)
    tensors: dict[str, np.ndarray] = {}
    for entry in keys:
        leaf = np.asarray(flat[entry.ours])
        for layer, value in enumerate(leaf) if "{layer}" in entry.theirs[0] else [(0, leaf)]:
            for name, part in zip(entry.theirs, _split(value, entry), strict=True):
                tensors[name.format(layer=entry.first + layer)] = np.asarray(part, order="C")
    return tensors


class Saved(NamedTuple):
    """A restored checkpoint.

    step: how many training steps it has behind it.
    tree: params and optimizer state, with the target's shapes and shardings.
    notes: what was saved beside them (iterator state), as JSON has it.
    """

    step: int
    tree: Any
    notes: dict[str, Any]


class Checkpoints:
    """A folder of training checkpoints, of which the newest `keep` stay.

    Each appears whole or not at all, so a run that is killed at any instant goes on from the last whole one.
    """

    def __init__(self, folder: Path | str, *, keep: int = 2) -> None:
        import orbax.checkpoint as orbax

        self._orbax = orbax
        options = orbax.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=False)
        self._manager = orbax.CheckpointManager(Path(folder).absolute(), options=options)
        self.folder = Path(folder)

    def latest(self) -> int | None:
        """The newest whole checkpoint's step; None when there is none."""
        return self._manager.latest_step()

    def save(self, step: int, tree: Any, notes: Mapping[str, Any]) -> None:
        """Write a checkpoint of `step`; returns when it is on the disk."""
        args = self._orbax.args
        self._manager.save(
            step, args=args.Composite(tree=args.StandardSave(tree), notes=args.JsonSave(dict(notes))), force=True
        )
        self._manager.wait_until_finished()

    def notes(self) -> dict[str, Any]:
        """What was saved beside the tree of the newest checkpoint."""
        args = self._orbax.args
        return dict(self._manager.restore(self.latest(), args=args.Composite(notes=args.JsonRestore())).notes)

    def restore(self, like: Any, step: int | None = None) -> Saved:
        """Read `step`, by default the newest, onto the shapes and shardings of `like`.

        Raises: FileNotFoundError when the folder has no checkpoint, or not that one.
        """
        found = list(self._manager.all_steps())
        wanted = self.latest() if step is None else step
        if wanted is None or wanted not in found:
            sought = "a checkpoint" if step is None else f"a checkpoint of step {step}"
            raise FileNotFoundError(f"{self.folder}: wanted {sought}, found steps {sorted(found)}")
        args = self._orbax.args
        target = jax.tree.map(self._orbax.utils.to_shape_dtype_struct, like)
        got = self._manager.restore(
            wanted, args=args.Composite(tree=args.StandardRestore(target), notes=args.JsonRestore())
        )
        return Saved(wanted, got.tree, got.notes)

    def close(self) -> None:
        """Let go of the folder."""
        self._manager.close()
