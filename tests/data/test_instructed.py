"""Prompts: what stands in them, what is left of them when they are too long, and what is refused."""

import numpy as np
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers

from jaxemb.data import Pair, Tokenizer, ended, instruct, instructed, shots, word_tokenizer

EXAMPLES = [Pair("it sings", "a lark"), Pair("it dives", "a grebe")]
TEXTS = ["Instruct Query Response : name the bird it hoots sings dives at night a lark grebe loudly"]
WORDS = word_tokenizer(TEXTS, 64, add_special=True)
END = WORDS.vocabulary["[SEP]"]
TASK, QUERY = "name the bird", "it hoots loudly at night"


def read(tokens, place=0, where=None):
    """The words of a row."""
    names = {number: word for word, number in WORDS.vocabulary.items()}
    mask = np.asarray(tokens.mask if where is None else where)[place] > 0
    return " ".join(names[number] for number in np.asarray(tokens.ids)[place][mask].tolist())


def alone(length=40, **settings):
    return instructed(WORDS, TASK, [QUERY], length=length, **settings)


def test_a_prompt_without_examples_is_one_block():
    assert read(alone()) == ("[CLS] instruct : name the bird query : it hoots loudly at night response : [SEP]")
    assert alone().ids.shape == (1, 40)


def test_examples_come_first_each_with_its_answer():
    text = instruct(TASK, QUERY, EXAMPLES)
    assert text.split("\n\n") == [
        "Instruct: name the bird\nQuery: it sings\nResponse: a lark",
        "Instruct: name the bird\nQuery: it dives\nResponse: a grebe",
        "Instruct: name the bird\nQuery: it hoots loudly at night\nResponse:",
    ]
    tokens = instructed(WORDS, TASK, [QUERY, "it hoots"], [EXAMPLES, []], length=60)
    assert read(tokens, 0) == f"[CLS] {' '.join(text.lower().replace(':', ' : ').split())} [SEP]"
    assert read(tokens, 1) == "[CLS] instruct : name the bird query : it hoots response : [SEP]"


def test_what_is_too_long_loses_its_last_examples_then_refuses_or_cuts_the_query():
    one = instructed(WORDS, TASK, [QUERY], [EXAMPLES[:1]], length=60)
    room = int(one.mask.sum())
    left = instructed(WORDS, TASK, [QUERY], [EXAMPLES], length=room)
    np.testing.assert_array_equal(left.ids[0], one.ids[0, :room])
    none = instructed(WORDS, TASK, [QUERY], [EXAMPLES], length=room - 1)
    assert read(none) == read(alone())
    shortest = int(none.mask.sum())
    assert shortest == 16
    with pytest.raises(ValueError, match="has 16 tokens without any example, wanted 15 at most"):
        instructed(WORDS, TASK, [QUERY], [EXAMPLES], length=15)
    cut = instructed(WORDS, TASK, [QUERY], [EXAMPLES], length=13, cut=True)
    assert read(cut) == "[CLS] instruct : name the bird query : it hoots response : [SEP]"
    with pytest.raises(ValueError, match="'name the bird' leaves no room for a query in 11 tokens, it has 11 alone"):
        instructed(WORDS, TASK, [QUERY], [EXAMPLES], length=11, cut=True)


def test_pooling_may_count_the_query_alone():
    tokens = instructed(WORDS, TASK, [QUERY, "it hoots"], [EXAMPLES, []], length=60, counted="query")
    assert [read(tokens, place, tokens.counted) for place in (0, 1)] == [QUERY, "it hoots"]
    assert alone().counted is None


def test_a_file_that_does_not_end_texts_itself_is_helped():
    backend = Backend(models.WordLevel({"</s>": 0, "an": 1, "owl": 2, "?": 3}, unk_token="?"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    llama = Tokenizer(backend, None, special={"eos_token": "</s>"})
    assert ended(llama, ["an owl", "owl"], length=4).ids.tolist() == [[1, 2, 0, 0], [2, 0, 0, 0]]
    assert ended(llama, ["an owl", "owl"], length=4).mask.tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]
    assert instructed(llama, "an", ["owl"], length=20).ids[0, 8] == 0
    assert ended(llama, ["an owl an owl"], length=3).ids.tolist() == [[1, 2, 0]]


def test_texts_lose_their_end_and_not_what_ends_them():
    tokens = ended(WORDS, ["it hoots loudly", "it"], length=4)
    assert [read(tokens, place) for place in (0, 1)] == ["[CLS] it hoots [SEP]", "[CLS] it [SEP]"]
    bare = word_tokenizer(TEXTS, 64)
    assert ended(bare, ["it hoots loudly"], length=2).mask.tolist() == [[1, 1]]  # nothing is added to what adds nothing


def test_examples_are_neither_the_query_nor_its_answer():
    pool = [Pair(f"q{i}", f"d{i % 4}") for i in range(8)]
    drawn = [shots(pool, pool[0], 6, np.random.default_rng(seed)) for seed in (0, 1)]
    assert sorted(drawn[0]) == sorted(set(pool) - {pool[0], pool[4]})
    assert drawn[0] != drawn[1]
    assert shots(pool, pool[0], 0, np.random.default_rng(0)) == []
    with pytest.raises(ValueError, match="wanted 7 examples, 6 are there for 'q0'"):
        shots(pool, pool[0], 7, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: alone(examples=[[Pair(QUERY, "an owl")]]), "an example is the query itself, 'it hoots loudly"),
        (lambda: instructed(WORDS, TASK, [QUERY, " "], length=30), "a query that is not empty, got ' '"),
        (lambda: alone(examples=[[], []]), "examples of each of 1 queries, got 2"),
        (lambda: alone(counted="last"), "counted must be all or query, got 'last'"),
        (
            lambda: instructed(WORDS.limited(9, add_special=True), TASK, [QUERY], length=30),
            "a tokenizer without a limit, got one of 9 tokens",
        ),
        (
            lambda: ended(Tokenizer(WORDS._backend, None), ["it"], length=3),
            r"an eos_token or a sep_token, got \[\]",
        ),
        (lambda: ended(WORDS, ["it", " "], length=3), "texts with a token, text 1 is ' '"),
        (lambda: ended(WORDS, ["it"], length=2), r"a length above 2 \(the special tokens\), got 2"),
    ],
)
def test_bad_prompts_are_refused(call, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        call()
