"""The shape that image encoders share with the text encoders that were trained beside them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxtyping import Array, Float

from jaxemb.types import Encoder, Entry, Params

Pixels = Float[Array, "b h w c"]
"""Images as an encoder reads them: resized, cut and scaled as its checkpoint says; see `jaxemb.data.images`."""


class Tower(NamedTuple):
    """An encoder whose architecture pools by itself.

    init: key -> params.
    apply: (params, inputs) -> vectors `[b, d]`; the inputs are `Pixels`, or `Tokens` for the text half of a pair.
    hidden: (params, inputs) -> the states of every layer, the embeddings' first: `[l + 1, b, n, d]`, or of every stage
      where maps shrink: a tuple of `[b, h, w, d]`.
    """

    init: Callable[[Array], Params]
    apply: Callable[[Params, Any], Float[Array, "b d"]]
    hidden: Callable[[Params, Any], Any]

    @property
    def encoder(self) -> Encoder:
        """The same without the states of its layers: what losses, poolings and models take."""
        return Encoder(self.init, self.apply)


class Pair(NamedTuple):
    """Two encoders into one space, trained so that a text lies near the images that it describes.

    init: key -> `{"text": ..., "image": ..., "scale": ..., ...}`, one part for each tower and what turns a cosine into
      a logit.
    text: over `params["text"]` and `Tokens`.
    image: over `params["image"]` and `Pixels`.
    logits: (params, text vectors `[b, d]`, image vectors `[n, d]`) -> `[b, n]`; larger is closer.
    """

    init: Callable[[Array], Params]
    text: Tower
    image: Tower
    logits: Callable[[Params, Float[Array, "b d"], Float[Array, "n d"]], Float[Array, "b n"]]


class ImageFamily(NamedTuple):
    """One architecture that reads images; as `encode.Family` is for texts.

    names: the `model_type`s of `config.json` that it answers to.
    config: the frozen dataclass of its shape; `size` is the length of its vectors.
    parse: `config.json` as a mapping -> that dataclass; refuses every key it does not know.
    describe: the dataclass -> a `config.json` that the reference library reads.
    build: (config, dtype=...) -> `Tower`, or `Pair`.
    keys: config -> every leaf of the params and the foreign names it comes from, without `prefix`.
    prefix: what checkpoints that were saved with a classifier put before those names, as `vit.`.
    unused: foreign names, without the prefix and with `*` for anything, on which no vector depends.
    processor: the reference's class that prepares images, for folders that do not name one.
    """

    names: tuple[str, ...]
    config: type
    parse: Callable[[Mapping[str, Any]], Any]
    describe: Callable[[Any], dict[str, Any]]
    build: Callable[..., Any]
    keys: Callable[[Any], list[Entry]]
    prefix: str = ""
    unused: tuple[str, ...] = ()
    processor: str = "ViTImageProcessor"


def below(ours: str, theirs: str, entries: Sequence[Entry]) -> list[Entry]:
    """The same entries a level deeper on both sides: `ours.` and `theirs` are put in front."""
    return [
        entry._replace(ours=f"{ours}.{entry.ours}", theirs=tuple(f"{theirs}{name}" for name in entry.theirs))
        for entry in entries
    ]
