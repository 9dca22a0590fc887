"""Folders of image encoders in and out, as transformers writes and reads them; of one tower, or of a pair.

A pair may also stand in a sentence-transformers folder, under a module `CLIPModel` or `Transformer`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike

from jaxemb import atomic, checkpoint
from jaxemb.data import preprocessing
from jaxemb.data.preprocessing import Preprocessing
from jaxemb.data.tokenize import Tokenizer
from jaxemb.encode import image
from jaxemb.model import modules, settings, transformer
from jaxemb.model.folder import resolved
from jaxemb.model.images import ImageModel, ImageSpec, TextImage, make_images
from jaxemb.model.spec import Spec, make
from jaxemb.types import Params

PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"
"""The file of what is done to images; and the one that holds it for both inputs of a pair, in newer folders."""


class Read(NamedTuple):
    """What a folder holds, whichever family it is of."""

    family: image.ImageFamily
    config: Any
    params: Params
    preprocessing: Preprocessing


def _read(folder: Path) -> Read:
    file = folder / "config.json"
    told = settings.read(file)
    try:
        family = image.image_family_named(told.get("model_type", ""))
        config = family.parse(told)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    tensors = checkpoint.without_prefix(checkpoint.read_weights(folder), family.prefix)
    shapes = jax.eval_shape(family.build(config).init, jax.random.key(0))
    params = checkpoint.from_foreign(tensors, family.keys(config), shapes, unused=family.unused)
    return Read(family, config, params, _preprocessing(folder, family.processor))


def _preprocessing(folder: Path, kind: str) -> Preprocessing:
    """What the newer file says, where it speaks of images; else the older one."""
    newer = "image_processor" in settings.read(folder / PROCESSOR, {})
    file = folder / (PROCESSOR if newer else PREPROCESSOR)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; it says what is done to images, and a model needs it")
    try:
        return preprocessing.parse(settings.read(file), kind=kind)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def load_images(source: Path | str, *, normalize: bool = False, dtype: DTypeLike = jnp.float32) -> ImageModel:
    """Read a folder with one image encoder, or fetch one by its hub id.

    Args:
      source: a folder with `config.json`, `model.safetensors` and `preprocessor_config.json`.
      normalize: whether vectors have length one; no such folder says it.
      dtype: of the products; params are float32.
    Raises: FileNotFoundError for what is missing; ValueError that names unknown keys or weights, or a pair of towers.
    """
    folder = resolved(source)
    read = _read(folder)
    if type(read.config) not in image.TOWERS:
        raise ValueError(f"{folder}: holds a pair of towers, {read.family.names[0]}; read it with load_text_images")
    spec = ImageSpec(backbone=read.config, normalize=normalize)
    return make_images(spec, read.params, read.preprocessing, dtype=dtype)


def load_text_images(source: Path | str, *, dtype: DTypeLike = jnp.float32) -> TextImage:
    """Read a folder with both towers of a CLIP or SigLIP, or fetch one by its hub id.

    Args:
      source: a folder that transformers wrote, with `tokenizer.json`; or one of sentence-transformers around it.
      dtype: of the products; params are float32.
    Raises: FileNotFoundError for what is missing; ValueError that names unknown keys, modules or weights.
    """
    folder = _inner(resolved(source))
    read = _read(folder)
    if type(read.config) in image.TOWERS:
        raise ValueError(f"{folder}: holds one tower, {read.family.names[0]}; read it with load_images")
    tokenizer = transformer.read_tokenizer(folder)
    config = _padded_by(read.config, tokenizer)
    spec = Spec(
        backbone=config.text_config,
        pooling=None,
        normalize=True,  # both families compare by the cosine alone
        max_length=transformer.longest(folder, config.text_config.max_position_embeddings),
    )
    text = make(spec, read.params["text"], tokenizer, dtype=dtype)
    seen = ImageSpec(backbone=config.vision_config, normalize=True)
    images = make_images(seen, read.params["image"], read.preprocessing, dtype=dtype)
    constants = {name: leaf for name, leaf in read.params.items() if name not in ("text", "image")}
    return TextImage(text, images, constants, config)


def _padded_by(config: Any, tokenizer: Tokenizer) -> Any:
    """The shapes of a pair whose texts are filled up with the tokenizer's own token, where the family fills them."""
    if not hasattr(config.text_config, "pad_token_id") or "pad_token" not in tokenizer.special:
        return config
    token = tokenizer.special["pad_token"]
    pad = tokenizer.vocabulary.get(token)
    if pad is None:
        raise ValueError(f"texts are filled up with {token!r}, which is no token of the tokenizer")
    return replace(config, text_config=replace(config.text_config, pad_token_id=pad))


_MODALITIES = {
    side: {"method": f"get_{side}_features", "method_output_name": "pooler_output"} for side in ("text", "image")
}
_MODULE: dict[str, tuple[Any, ...]] = {
    "transformer_task": ("feature-extraction",),
    "modality_config": (_MODALITIES,),
    "module_output_name": ("sentence_embedding",),
    "max_seq_length": (),
    "do_lower_case": (False,),
}
"""What a sentence-transformers folder may say of the module that holds a pair."""

_USE: dict[str, tuple[Any, ...]] = {
    "__version__": (),
    "model_type": (),
    "default_prompt_name": (None,),
    "prompts": ({}, {"query": "", "document": ""}),
    "similarity_fn_name": (None, "cosine"),
}
"""And of how its vectors are used."""


def _inner(folder: Path) -> Path:
    """The folder that transformers reads, inside one of sentence-transformers if it is one."""
    if not (folder / "modules.json").is_file():
        return folder
    rows = modules.listed(folder)
    kinds = [row.kind for row in rows]
    if kinds[:1] not in (["CLIPModel"], ["Transformer"]) or kinds[1:] not in ([], ["Normalize"]):
        raise ValueError(
            f"{folder / 'modules.json'}: wanted CLIPModel or Transformer, then Normalize or nothing, got {kinds}"
        )
    file = rows[0].folder / "sentence_bert_config.json"
    settings.checked(file, settings.read(file, {}), _MODULE)
    use = folder / "config_sentence_transformers.json"
    settings.checked(use, settings.read(use, {}), _USE)
    return rows[0].folder


def save_images(model: ImageModel, folder: Path | str) -> None:
    """Write a folder that transformers loads, with what is done to images; whole or not at all.

    A classifier or a pooler that the checkpoint had is not written.  EfficientNet-Lite is read by this library alone.

    Raises: FileExistsError where a folder of another kind is, as one of a pair.
    """
    family = image.image_family_of(model.spec.backbone)
    files = {"config.json": family.describe(model.spec.backbone)}
    tensors = checkpoint.to_foreign(model.params, family.keys(model.spec.backbone))
    _write(folder, files, model.preprocessing, tensors, other=partial(_other, pair=False))


def save_text_images(pair: TextImage, folder: Path | str) -> None:
    """Write a folder that transformers loads: towers, tokenizer and what is done to images; whole or not at all.

    Raises: FileExistsError where a folder of another kind is, as one of a single tower.
    """
    family, tokenizer = image.image_family_of(pair.config), pair.text.tokenizer
    params = {"text": pair.text.params, "image": pair.image.params, **pair.constants}
    fills = hasattr(pair.config.text_config, "pad_token_id")  # then nothing is masked
    files = {
        "config.json": family.describe(pair.config),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": pair.text.spec.max_length,
            "model_input_names": ["input_ids", *([] if fills else ["attention_mask"])],
            **tokenizer.special,
        },
    }
    texts = {"tokenizer.json": tokenizer.to_json()}
    tensors = checkpoint.to_foreign(params, family.keys(pair.config))
    _write(folder, files, pair.image.preprocessing, tensors, texts, other=partial(_other, pair=True))


def _other(folder: Path, *, pair: bool) -> str | None:
    """What a folder holds, where that is not a pair of towers or not a single one; None where it is."""
    name = settings.read(folder / "config.json", {}).get("model_type")
    family = next((one for one in image.IMAGE_FAMILIES if name in one.names), None)
    if family is not None and (family.config not in image.TOWERS) == pair:
        return None
    return f"{'no model of images' if family is None else 'one tower' if pair else 'a pair of towers'}, {name}"


def _write(
    folder: Path | str,
    files: Mapping[str, Any],
    how: Preprocessing,
    tensors: Mapping[str, np.ndarray],
    texts: Mapping[str, str] | None = None,
    *,
    other: Callable[[Path], str | None],
) -> None:
    told = {**files, PREPROCESSOR: preprocessing.describe(how)}
    written = {name: json.dumps(content, indent=2) + "\n" for name, content in told.items()} | dict(texts or {})
    with atomic.folder(folder, replaces=PREPROCESSOR, other=other) as unfinished:
        for name, content in written.items():
            (unfinished / name).write_text(content, encoding="utf-8")
        checkpoint.write_tensors(tensors, unfinished / checkpoint.WEIGHTS)
