"""A tokenizer of the words of some texts: what a small encoder that is trained here reads."""

from collections.abc import Iterable

from jaxemb.data.tokenize import Tokenizer

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
"""The first ids, 0 to 4, and their roles."""


def word_tokenizer(
    texts: Iterable[str], size: int, max_length: int | None = None, *, add_special: bool = False
) -> Tokenizer:
    """A token for each of the words that stand in `texts` most often; every other word is `[UNK]`.

    Words are lower-cased and lose their accents; runs of letters and digits are words, and so is each mark between
    them, as BERT splits texts before it looks for parts of words.  Of words as frequent, the first by name comes first.

    >>> words = word_tokenizer(["One owl and one owl.", "One swift."], 8)
    >>> print(words.ids(["One new owl."]).rows[0], words.size)
    [5 1 7 6] 8

    Args:
      texts: of the training split, so that nothing of the others is known.
      size: of the vocabulary, the five of `SPECIAL` among it; smaller where the texts have fewer words.
      max_length: tokens a text; what is longer loses its end.
      add_special: whether `[CLS]` stands before a text and `[SEP]` behind it.
    Raises: ValueError for a size that holds no word, or texts without one.
    """
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

    special = list(SPECIAL.values())
    if size <= len(special):
        raise ValueError(f"size must be above {len(special)} (the special tokens), got {size}")
    backend = Backend(models.WordLevel(unk_token=SPECIAL["unk_token"]))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.train_from_iterator(
        texts, trainers.WordLevelTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    )
    if backend.get_vocab_size() == len(special):
        raise ValueError("word_tokenizer: no word in the texts")
    after, before = ((SPECIAL[role], special.index(SPECIAL[role])) for role in ("sep_token", "cls_token"))
    backend.post_processor = processors.BertProcessing(after, before)
    return Tokenizer(backend, max_length, add_special=add_special, special=SPECIAL)
