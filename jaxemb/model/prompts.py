"""What is put before a text, and how many tokens of it that makes.

A text given outright goes before a prompt asked for by name, which goes before the model's default:

- `prefix="search: "` is put before every text, whatever prompts the model has; `""` puts nothing there.
- `prompt="query"` asks for the model's prompt of that name.  `query` and `document`, the two sides of a search, may be
  asked of every model and add nothing where it has none, as in sentence-transformers; any other name must be there.
- with neither, the model's default prompt is used, if it has one.
"""

import functools
from collections.abc import Callable

import numpy as np
from jaxtyping import Array

from jaxemb.data.tokenize import Tokenizer
from jaxemb.model.spec import Spec
from jaxemb.types import Tokens

SIDES = ("query", "document")
"""What every model may be asked for."""


def resolved(spec: Spec, prompt: str | None, prefix: str | None = None) -> str:
    """What goes before every text, perhaps nothing.

    Args:
      prompt: the name of one of the model's prompts.
      prefix: the text itself.
    Raises: ValueError for both at once, or a name that the model does not have, with those that it has.
    """
    if prefix is not None:
        if prompt is not None:
            raise ValueError(f"wanted the name of a prompt or a prefix, got both: {prompt!r} and {prefix!r}")
        return prefix
    name = spec.default_prompt if prompt is None else prompt
    if name is None or (name in SIDES and name not in spec.prompts):
        return ""
    if name not in spec.prompts:
        known = ", ".join(repr(name) for name in sorted({*spec.prompts, *SIDES}))
        raise ValueError(f"the model has no prompt {name!r}; it has {known}")
    return spec.prompts[name]


@functools.lru_cache(maxsize=64)  # to look up what is special takes longer than to encode a query
def tokens_of(tokenizer: Tokenizer, before: str) -> int:
    """How many tokens a text begins with for standing after `before`, the special ones in front included.

    As sentence-transformers counts them: of the prompt alone, less a special token at its end.
    """
    row = tokenizer.ids([before]).rows[0]
    special = {tokenizer.vocabulary.get(token) for token in tokenizer.special.values()}
    return len(row) - int(len(row) > 0 and int(row[-1]) in special)


def leaving_out(read: Callable[[Tokens], Array], first: int) -> Callable[[Tokens], Array]:
    """`read` with pooling that does not count the first so many tokens of every text."""

    def reads(tokens: Tokens) -> Array:
        counted = np.array(tokens.mask)
        counted[:, :first] = 0
        return read(tokens._replace(counted=counted))

    return reads if first else read
