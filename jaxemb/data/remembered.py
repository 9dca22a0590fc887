"""A tokenizer that reads each text once."""

from collections.abc import Sequence

import numpy as np

from jaxemb.data.tokenize import Ids, Tokenizer


class Remembered(Tokenizer):
    """The same tokenizer, which keeps the ids of every text: for small sets of texts that come up again and again.

    Where steps are short, to read the same negatives anew each time takes longer than to learn from them.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(
            tokenizer._backend, tokenizer.max_length, add_special=tokenizer.add_special, special=tokenizer.special
        )
        self._known: dict[str, tuple[np.ndarray, bool]] = {}

    def ids(self, texts: Sequence[str]) -> Ids:
        """Token ids of every text; see `Tokenizer.ids`."""
        if new := [text for text in dict.fromkeys(texts) if text not in self._known]:
            rows, truncated, _ = super().ids(new)
            self._known.update(zip(new, zip(rows, truncated.tolist(), strict=True), strict=True))
        found = [self._known[text] for text in texts]
        return Ids([row for row, _ in found], np.array([cut for _, cut in found], dtype=bool))
