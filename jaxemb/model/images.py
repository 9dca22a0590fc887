"""Images to vectors: an encoder, its params and what is done to an image first; and pairs of it with a text model."""

import functools
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from jaxemb import encode as encoders
from jaxemb import progress
from jaxemb.data import preprocessing
from jaxemb.data.images import pixels
from jaxemb.data.preprocessing import Preprocessing
from jaxemb.encode import image
from jaxemb.model import precision
from jaxemb.model.spec import Model
from jaxemb.types import Encoder, Params

IMAGES = (1, 4, 16)
"""Batch sizes that are compiled: a smaller batch is filled up with images that are thrown away."""


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """What a model of images is.

    backbone: the architecture's shape, as `ViTConfig`; one of `encode.image.TOWERS`.
    normalize: whether vectors have length one.
    """

    backbone: Any
    normalize: bool = False


class ImageModel(NamedTuple):
    """An encoder with the params, and what is done to images, that make it embed them."""

    encoder: Encoder
    params: Params
    preprocessing: Preprocessing
    spec: ImageSpec
    dtype: jnp.dtype = jnp.dtype("float32")

    @property
    def size(self) -> int:
        """Dimensions of a vector."""
        return self.spec.backbone.size


class TextImage(NamedTuple):
    """Two models into one space, whose vectors have length one.

    constants: what turns a cosine into a logit: `scale`, and `bias` where the family has it.
    config: the shape of both, as `ClipConfig`.
    """

    text: Model
    image: ImageModel
    constants: Params
    config: Any

    def logits(self, texts: Float[Array | np.ndarray, "b d"], images: Float[Array | np.ndarray, "n d"]) -> Array:
        """How well texts `[b, d]` and images `[n, d]` go together, `[b, n]`, in the pair's own units; see `Pair`."""
        with precision.exact(jnp.float32):
            return _pair(self.config).logits(self.constants, jnp.asarray(texts), jnp.asarray(images))


@functools.lru_cache(maxsize=32)
def _pair(config: Any) -> image.Pair:
    return image.image_family_of(config).build(config)


def build_images(spec: ImageSpec, *, dtype: DTypeLike = jnp.float32) -> Encoder:
    """The encoder that a spec describes; params stay float32, products run in `dtype`."""
    return _built(spec, precision.checked(dtype).name)


@functools.lru_cache(maxsize=32)
def _built(spec: ImageSpec, dtype: str) -> Encoder:
    encoder = image.tower_of(spec.backbone, dtype=dtype).encoder
    encoder = encoders.normalized(encoder) if spec.normalize else encoder
    return Encoder(encoder.init, jax.jit(encoder.apply))


def make_images(spec: ImageSpec, params: Params, how: Preprocessing, *, dtype: DTypeLike = jnp.float32) -> ImageModel:
    """A model from its parts.

    Raises: ValueError when images do not come out of their preprocessing in the size that the encoder reads.
    """
    made = preprocessing.sides(how)
    if hasattr(spec.backbone, "patch_size") and made not in (None, (spec.backbone.image_size,) * 2):
        side = spec.backbone.image_size
        raise ValueError(f"the encoder reads images of {side} x {side}, the preprocessing makes them {made}")
    return ImageModel(build_images(spec, dtype=dtype), params, how, spec, jnp.dtype(dtype))


def encode_images(model: ImageModel, images: Iterable[Any], *, what: str | None = None) -> Float[np.ndarray, "n d"]:
    """The vectors of images, in their order, float32.

    They are opened a batch at a time: but for the vectors, the memory that is needed does not grow with their number.

    Args:
      images: paths, Pillow images or arrays, as `data.images.pixels` takes them; a list or any other iterable.
      what: the name of a progress bar, for images that can be counted beforehand; None shows none.
    Raises: what `data.images.pixels` raises; TypeError for one image instead of a list; FloatingPointError that names
      the first vector that is not finite.
    """
    if isinstance(images, str | Path):
        raise TypeError(f"encode_images: wanted a list of images, got one path, {str(images)!r}")
    if not isinstance(images, Iterable) or getattr(images, "ndim", 1) in (2, 3):  # whose rows are no images
        raise TypeError(f"encode_images: wanted a list of images, got one {type(images).__name__}")
    total = len(images) if isinstance(images, Sized) else 0
    found: list[np.ndarray] = []
    with progress.bar(what or "", total, shown=what is not None and total > 0) as advance:
        for first, batch in _batches(images):
            vectors = _embedded(model, pixels(model.preprocessing, batch, first=first))
            if len(broken := np.flatnonzero(~np.isfinite(vectors).all(axis=1))):
                raise FloatingPointError(f"the vector of image {first + broken[0]} is not finite")
            found.append(vectors)
            advance(len(batch))
    return np.concatenate([np.zeros((0, model.size), np.float32), *found])


def _batches(images: Iterable[Any]) -> Iterator[tuple[int, list[Any]]]:
    """Up to `IMAGES[-1]` at a time, with the number of the first."""
    coming, first = iter(images), 0
    while batch := list(islice(coming, IMAGES[-1])):
        yield first, batch
        first += len(batch)


def _embedded(model: ImageModel, batch: Float[np.ndarray, "b h w c"]) -> Float[np.ndarray, "b d"]:
    rows = min(rows for rows in IMAGES if rows >= len(batch))
    filled = np.concatenate([batch, np.zeros((rows - len(batch), *batch.shape[1:]), np.float32)])
    with precision.exact(model.dtype):
        return np.asarray(model.encoder.apply(model.params, jnp.asarray(filled)), np.float32)[: len(batch)]


def images_in_precision(model: ImageModel, dtype: DTypeLike) -> ImageModel:
    """The same model with products in `dtype`: float32, or bfloat16 for speed."""
    return model._replace(encoder=build_images(model.spec, dtype=dtype), dtype=jnp.dtype(dtype))
