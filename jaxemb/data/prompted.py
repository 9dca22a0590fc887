"""A text inside a template with a mask, whose state is the text's vector."""

from collections.abc import Sequence

import numpy as np

from jaxemb.data.tokenize import Tokenizer, bucket, pad
from jaxemb.types import Tokens

TEMPLATE = 'This sentence : "{text}" means [MASK] .'


def prompted(tokenizer: Tokenizer, texts: Sequence[str], template: str = TEMPLATE) -> Tokens:
    """Texts inside a template, of which pooling counts the mask alone: the mean of that is the mask's state.

    Args:
      tokenizer: with special tokens as its encoder wants them, and a `mask_token`.
      template: with `{text}` once, and the mask token once.
    Raises: ValueError for a tokenizer without a mask token, such a template, a text with a mask of its own, or one so
      long that the mask is cut off.
    Source: Jiang et al. 2022, arXiv:2201.04337 (PromptBERT), sec. 4; arXiv:2405.16153 (DefSent+).
    """
    mask = tokenizer.special.get("mask_token")
    if mask is None:
        raise ValueError(f"prompted: the tokenizer has no mask_token, only {sorted(tokenizer.special)}")
    if template.count(mask) != 1 or template.count("{text}") != 1:
        raise ValueError(f"prompted: wanted a template with one {{text}} and one {mask}, got {template!r}")
    before, after = template.split("{text}")
    rows = tokenizer.marked([mask]).ids([f"{before}{text}{after}" for text in texts]).rows
    number = tokenizer.vocabulary[mask]
    for text, row in zip(texts, rows, strict=True):
        if (count := int((row == number).sum())) != 1:
            why = "the text is too long for it" if not count else f"the text has a {mask} of its own"
            raise ValueError(f"prompted: {count} masks in the prompt of {text[:60]!r}; {why}")
    length = bucket(max(len(row) for row in rows), tokenizer.max_length)
    tokens = pad(rows, length)
    return tokens._replace(counted=(np.asarray(tokens.ids) == number).astype(np.int32) * np.asarray(tokens.mask))
