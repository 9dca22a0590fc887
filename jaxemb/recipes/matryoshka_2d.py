"""One encoder that is read after any layer, at any size: 2-D matryoshka sentence embeddings.

Paper: Li et al. 2024, arXiv:2402.14776; rewritten under the same number as ESE (Espresso Sentence Embeddings), ICLR
2025.  Four losses were published under these names, and `mode` says which one a model was trained with: `2dmse`
(`losses.random_exit`), `st2d` (`losses.random_layer`), `espresso` (`losses.every_layer`) and `starbucks`
(`losses.every_exit`; Zhuang et al. 2024, arXiv:2410.13230).

What is composed: the vectors of all layers (`encode.exits`), one of those losses around InfoNCE, `train.fit`.
`at` makes the shallower and shorter encoder, which runs as many blocks as it is asked for and no more; `shallower` the
same of a model with its tokenizer, as folders and indexes keep it.
Differences: InfoNCE stands where the paper mixes CoSENT, in-batch and angle losses, and any loss can; the gradient to
the teacher of the alignment flows as in the sources unless `stop_teacher`.
Unsure: the published versions differ in the factor of the alignment, `log(2 + n)` times the temperature in the later
one; `alignment` puts a number in its place.
Figures: the paper's and ours stand on the page of claims, for `jaxemb claim matryoshka_2d`.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jaxemb import encode, losses, train
from jaxemb.encode import BertConfig, Pooling
from jaxemb.losses import exits
from jaxemb.model import Model, build
from jaxemb.similarity import cosine
from jaxemb.train.placement import Layout
from jaxemb.types import Backbone, Embedder, Loss, Objective, Params

Mode = Literal["2dmse", "st2d", "espresso", "starbucks"]
DRAWS = ("2dmse", "st2d")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the paper varies.

    sizes: of which `2dmse` and `st2d` draw one a step; the whole has terms of its own in `2dmse`.
    size: the one of `espresso`.
    pairs: layers, from 1, and sizes of `starbucks`.
    temperature: of InfoNCE.
    softness: the temperature of the alignment; None leaves it out, but for `espresso`, which is made of it.
    alignment: its factor, in place of `log(2 + n)` in `2dmse`.
    stop_teacher: whether the alignment leaves the last layer alone.
    allow_missing_full: whether the whole vector may be left out of `sizes`.
    """

    mode: Mode = "2dmse"
    sizes: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 512, 768)
    size: int = 128
    pairs: tuple[tuple[int, int], ...] = ((2, 32), (4, 64), (6, 128), (8, 256), (10, 512), (12, 768))
    temperature: float = 0.05
    softness: float | None = 1.0
    alignment: float | None = None
    stop_teacher: bool = False
    allow_missing_full: bool = False
    steps: int = 500
    learning_rate: float = 5e-5


def loss(cfg: Config, layers: int, size: int) -> Loss:
    """The loss of a mode for an encoder of so many layers and dimensions.

    Raises: ValueError for settings that such an encoder does not have.
    """
    if cfg.mode not in get_args(Mode):
        raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, got {cfg.mode!r}")
    if layers < 2:
        raise ValueError(f"{cfg.mode}: wanted an encoder of 2 layers or more, got {layers}")
    if cfg.mode in DRAWS and cfg.sizes and not cfg.allow_missing_full and size not in cfg.sizes:
        raise ValueError(
            f"{cfg.mode}: the whole vector of {size} dimensions is missing from the sizes {list(cfg.sizes)}; add it, "
            "or allow_missing_full=True"
        )
    asked = {"espresso": (cfg.size,), "starbucks": [d for _, d in cfg.pairs]}.get(cfg.mode, cfg.sizes)
    deepest = max((n for n, _ in cfg.pairs), default=0) if cfg.mode == "starbucks" else layers
    if max(asked, default=0) > size or deepest > layers:
        raise ValueError(
            f"{cfg.mode}: wanted layers up to {layers} and sizes up to {size}, got {deepest} and {max(asked)}"
        )
    inner = partial(losses.info_nce, temperature=cfg.temperature)
    if cfg.mode == "espresso":
        return losses.every_layer(inner, cfg.size, temperature=cfg.softness or 0.0)
    softness, stop = cfg.softness, cfg.stop_teacher
    if cfg.mode == "starbucks":
        return losses.every_exit(inner, cfg.pairs, temperature=softness, stop_teacher=stop)
    if cfg.mode == "st2d":
        return losses.random_layer(inner, cfg.sizes, temperature=softness, stop_teacher=stop)
    below = [d for d in cfg.sizes if d < size]
    factor = exits.rising if cfg.alignment is None else partial(exits.constant, cfg.alignment)
    return losses.random_exit(inner, below, temperature=softness, alignment=factor, stop_teacher=stop)


def objective(cfg: Config, backbone: Backbone, pooling: Pooling) -> Objective:
    """The objective of a mode; modes that draw read the entry `key` of a batch.

    Raises: TypeError for an encoder in the place of the backbone: its layers cannot be read, nor its gradients cached.
    """
    if not isinstance(backbone, Backbone):
        raise TypeError(
            f"matryoshka_2d: wanted a Backbone, whose layers can be read, got {type(backbone).__name__}; an encoder, "
            "as gradient_cache gives, has only its last vectors"
        )

    def fitting(query: Float[Array, "l b d"], document: Float[Array, "l n d"], **kwargs: Array) -> Float[Array, " b"]:
        return loss(cfg, query.shape[0], query.shape[2])(query, document, **kwargs)

    vectors = encode.exits(backbone, pooling)
    return train.layerwise(vectors, fitting, passed=("key",) if cfg.mode in DRAWS else ())


def run(
    cfg: Config,
    backbone: Backbone,
    pooling: Pooling,
    params: Params,
    batches: train.Batches,
    *,
    key: Array,
    mesh: Mesh | None = None,
    layout: Layout = train.replicated,
    checkpoints: Path | str | None = None,
    log: Path | str | None = None,
    what: str | None = "2-D matryoshka",
) -> Params:
    """Train; `at` makes an embedder of what comes back, for every layer and size that `cfg` asked for.

    Args:
      batches: with entries `query` and `document`, tokens.
      key: of what is drawn; all else as `train.fit` has it.
    """
    return train.fit(
        objective(cfg, backbone, pooling),
        optax.adamw(train.warmup_cosine(cfg.learning_rate, cfg.steps)),
        batches,
        params,
        steps=cfg.steps,
        key=key,
        mesh=mesh,
        layout=layout,
        checkpoints=checkpoints,
        run=f"matryoshka_2d {cfg}",
        log=log,
        what=what,
    )


def at(backbone: Backbone, pooling: Pooling, params: Params, layer: int, size: int) -> Embedder:
    """The encoder that leaves after `layer` blocks and keeps `size` dimensions: no block above it is run, or kept."""
    encoder = encode.sized(encode.pooled(backbone, pooling), size)
    return Embedder(encode.first_layers(params, layer), encoder.apply, encoder.apply, cosine)


def shallower(made: Model, layer: int) -> Model:
    """The model of the first `layer` blocks alone.

    `model.save` and a bundle of an index keep it as it is, so that nobody has to remember the layer; the size is kept
    by the compressor of the index, `compress.truncate(size)`.  `mode` has no place there but in the folder's name.

    Raises: TypeError for another family than BERT's; ValueError for a layer that is not there.
    """
    if not isinstance(made.spec.backbone, BertConfig):
        raise TypeError(f"shallower: wanted a model of BERT's family, got {type(made.spec.backbone).__name__}")
    params = encode.first_layers(made.params, layer)
    spec = replace(made.spec, backbone=replace(made.spec.backbone, num_hidden_layers=layer))
    return made._replace(encoder=build(spec, dtype=made.dtype), params=params, spec=spec)
