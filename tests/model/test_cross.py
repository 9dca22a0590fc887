"""Cross-encoders: folders in and out, pairs to scores, and bad input."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import checkpoint, encode
from jaxemb.data.tokenize import Tokenizer
from jaxemb.encode.text.heads import classified
from jaxemb.model import cross, cross_folder
from jaxemb.types import Tokens

GOLDEN = Path(__file__).parent.parent / "golden"
SIGMOID, IDENTITY = "torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity"
PAIRS = [("a b", "c"), ("d", "e f g h"), ("q r s t a b c d e", "f g h i j k l m n"), ("", "a")]


def quiet(text: str) -> None:
    """Where a report goes that a test does not read."""


def folder(place: Path, *, labels: tuple[str, ...] = ("no", "perhaps", "yes"), **files: dict | None) -> Path:
    """A BERT classifier with a tokenizer, as releases before 6 keep it, and other files or keys of files."""
    shutil.copytree(GOLDEN / "heads" / "bert-classes", place)
    shutil.copy(GOLDEN / "bert" / "new" / "tokenizer.json", place)
    tensors = checkpoint.read_weights(place)
    cut = {name: tensor[: len(labels)] if "classifier" in name else tensor for name, tensor in tensors.items()}
    checkpoint.write_tensors(cut, place / checkpoint.WEIGHTS)
    config = {"id2label": {str(i): label for i, label in enumerate(labels)}, **(files.pop("config", None) or {})}
    for name, told in {"config": config, **files}.items():
        file = place / f"{name}.json"
        before = json.loads(file.read_text()) if file.is_file() else {}
        file.write_text(json.dumps(told if isinstance(told, list) else {**before, **told}))
    return place


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return cross_folder.load_cross(folder(tmp_path_factory.mktemp("cross") / "three"))


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return cross_folder.load_cross(folder(tmp_path_factory.mktemp("cross") / "one", labels=("score",)))


def test_logits_of_pairs_are_those_of_the_tokens_they_make(three):
    ids = three.tokenizer.pairs(PAIRS[:1])
    assert ids.rows[0].tolist() == [2, 5, 6, 3, 7, 3]
    tokens = Tokens(ids.rows[0][None], np.ones((1, 6), np.int32), np.array([[0, 0, 0, 0, 1, 1]], np.int32))
    backbone = encode.bert(three.spec.backbone)
    by_hand = jax.jit(classified(backbone, three.spec.classifier, 16).apply)(three.params, tokens)
    np.testing.assert_allclose(cross.logits(three, PAIRS[:1]), by_hand, atol=1e-5)


def test_order_and_batch_do_not_matter(three):
    together = cross.score(three, PAIRS, report=quiet)
    assert together.shape == (4, 3)
    np.testing.assert_allclose(cross.score(three, PAIRS[::-1], report=quiet), together[::-1], atol=1e-5)
    np.testing.assert_allclose(cross.score(three, PAIRS[1:2]), together[1:2], atol=1e-5)


def test_one_label_is_squeezed_and_ranks(one):
    documents = ["a", "b c", "d e f", "a", "g"]
    scores = cross.score(one, [("q r", document) for document in documents])
    assert scores.shape == (5,)
    ranked = cross.rank(one, "q r", documents)
    np.testing.assert_allclose(ranked.scores, np.sort(scores)[::-1], atol=1e-6)
    np.testing.assert_allclose(scores[ranked.documents], ranked.scores, atol=1e-6)
    assert ranked.documents.tolist().index(0) + 1 == ranked.documents.tolist().index(3)  # alike: in their order
    assert cross.rank(one, "q r", documents, top=2).documents.tolist() == ranked.documents[:2].tolist()


def test_no_pairs_have_no_scores(one, three):
    assert cross.score(one, []).shape == (0,)
    assert cross.score(three, []).shape == (0, 3)
    assert cross.rank(one, "a", []).documents.shape == (0,)


def test_long_pairs_and_empty_texts_are_reported(three):
    said: list[str] = []
    cross.score(three, PAIRS, report=said.append)
    assert said == [
        "1 of 4 pairs were longer than 14 tokens and lost an end",
        "1 of 8 texts are empty; their scores say little",
    ]


def test_prompts_go_before_the_first_text(three):
    asked = three._replace(spec=replace(three.spec, prompts={"query": "q ", "other": "r "}, default_prompt="other"))
    wanted = cross.score(three, [("q a", "b")])
    np.testing.assert_allclose(cross.score(asked, [("a", "b")], prompt="query"), wanted, atol=1e-6)
    np.testing.assert_allclose(cross.score(three, [("a", "b")], prefix="q "), wanted, atol=1e-6)
    np.testing.assert_allclose(cross.score(asked, [("a", "b")]), cross.score(three, [("r a", "b")]), atol=1e-6)
    with pytest.raises(ValueError, match="no prompt 'task'; it has 'document', 'other', 'query'"):
        cross.score(asked, [("a", "b")], prompt="task")


@pytest.mark.parametrize(
    ("labels", "files", "activation"),
    [
        (("a",), {}, "Sigmoid"),
        (("a", "b"), {}, "Identity"),
        (("a",), {"config": {"sbert_ce_default_activation_function": IDENTITY}}, "Identity"),
        (("a",), {"config": {"sentence_transformers": {"activation_fn": IDENTITY, "version": "4.1.0"}}}, "Identity"),
        (("a", "b"), {"config_sentence_transformers": {"activation_fn": SIGMOID}}, "Sigmoid"),
    ],
)
def test_activations_by_the_place_that_tells_them(tmp_path, labels, files, activation):
    loaded = cross_folder.load_cross(folder(tmp_path / "m", labels=labels, **files))
    assert loaded.spec.activation == activation
    raw = cross.logits(loaded, PAIRS[:1])
    wanted = 1 / (1 + np.exp(-raw)) if activation == "Sigmoid" else raw
    np.testing.assert_allclose(cross.score(loaded, PAIRS[:1]).reshape(raw.shape), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("told", "segments"),
    [
        ({}, True),
        ({"tokenizer_class": "BertTokenizer"}, True),
        ({"tokenizer_class": "TokenizersBackend"}, False),
        ({"model_input_names": ["input_ids", "attention_mask"]}, False),
        ({"model_input_names": ["input_ids", "token_type_ids"], "tokenizer_class": "TokenizersBackend"}, True),
    ],
)
def test_segments_are_read_where_the_tokenizer_hands_them_out(three, told, segments):
    assert cross_folder.reads_segments(three.spec.backbone, told) is segments
    assert not cross_folder.reads_segments(replace(three.spec.backbone, type_vocab_size=1), told)


def test_segments_change_the_score(three):
    blind = cross.make_cross(replace(three.spec, segments=False), three.params, three.tokenizer)
    assert np.abs(cross.logits(blind, PAIRS[:1]) - cross.logits(three, PAIRS[:1])).max() > 0.01


def test_a_newer_folder(tmp_path, three):
    use = {"model_type": "CrossEncoder", "prompts": {"query": "q "}, "default_prompt_name": None}
    sentence = {
        "transformer_task": "sequence-classification",
        "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
        "module_output_name": "scores",
        "max_seq_length": 9,
    }
    listed = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}]
    place = folder(tmp_path / "m", config_sentence_transformers=use, sentence_bert_config=sentence, modules=listed)
    loaded = cross_folder.load_cross(place)
    assert (loaded.spec.max_length, loaded.spec.prompts, loaded.labels) == (9, {"query": "q "}, three.labels)


@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_what_is_saved_is_read_again(tmp_path, three, name):
    model = three
    if name == "modernbert":
        place = GOLDEN / "heads" / "modernbert-classes"
        shutil.copytree(place, tmp_path / "from")
        shutil.copy(GOLDEN / "bert" / "new" / "tokenizer.json", tmp_path / "from")
        model = cross_folder.load_cross(tmp_path / "from")
    model = model._replace(spec=replace(model.spec, prompts={"query": "q "}, default_prompt="query", activation="Tanh"))
    cross_folder.save_cross(model, tmp_path / "saved")
    again = cross_folder.load_cross(tmp_path / "saved")
    assert again.spec == model.spec
    for ours, theirs in zip(jax.tree.leaves(again.params), jax.tree.leaves(model.params), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    cross_folder.save_cross(model, tmp_path / "saved")  # which replaces it


def test_products_of_other_types_are_refused(three):
    with pytest.raises(ValueError, match=r"dtype must be one of .*, got int8"):
        cross.make_cross(three.spec, three.params, three.tokenizer, dtype="int8")


def test_bfloat16_stays_close(three):
    half = cross.make_cross(three.spec, three.params, three.tokenizer, dtype="bfloat16")
    assert half.dtype == jnp.bfloat16
    rough, fine = cross.logits(half, PAIRS[:2]), cross.logits(three, PAIRS[:2])
    np.testing.assert_allclose(rough, fine, atol=0.1)
    assert not np.allclose(rough, fine, atol=1e-5)


def test_devices_share_the_rows(three):
    many = cross.score(three, PAIRS, report=quiet, devices=jax.devices()[:2])
    np.testing.assert_allclose(many, cross.score(three, PAIRS, report=quiet), atol=1e-5)


LISTED = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1", "type": "sentence_transformers.models.Dense"},
]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config": {"architectures": ["BertForTokenClassification"]}}, "config.json: bert config: architectures must"),
        ({"config": {"model_type": "owl"}}, "model_type 'owl' is unknown"),
        ({"config": {"surprise": 1}}, r"unknown keys \['surprise'\]"),
        ({"config": {"id2label": {"0": "a"}}}, r"head.out.kernel: wanted shape \(16, 1\), got \(16, 3\)"),
        ({"config": {"sentence_transformers": {"activation_fn": "os.system"}}}, "activation_fn must be .*'os.system'"),
        ({"config_sentence_transformers": {"activation_fn": "torch.nn.Softmax"}}, "activation_fn must be one of"),
        ({"config_sentence_transformers": {"model_type": "SentenceTransformer"}}, "model_type must be one of"),
        ({"config_sentence_transformers": {"surprise": 1}}, "unknown key 'surprise'"),
        ({"config_sentence_transformers": {"default_prompt_name": "q"}}, "default prompt 'q' is none of the prompts"),
        ({"sentence_bert_config": {"transformer_task": "fill-mask"}}, "transformer_task must be one of"),
        ({"sentence_bert_config": {"do_lower_case": True}}, "the tokenizer tells upper from lower case"),
        ({"tokenizer_config": {"truncation_side": "left"}}, "truncation_side must be 'right', got 'left'"),
        ({"tokenizer_config": {"chat_template": "{{ messages }}"}}, "wanted a tokenizer without a chat template"),
        ({"modules": LISTED}, r"wanted one Transformer, in the folder itself; got \['Transformer', 'Dense'\]"),
    ],
)
def test_folders_of_other_models_are_refused_by_name(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        cross_folder.load_cross(folder(tmp_path / "m", **files))


def test_weights_without_a_head_are_refused(tmp_path):
    place = folder(tmp_path / "m")
    tensors = checkpoint.read_weights(place)
    missing = {name: tensor for name, tensor in tensors.items() if name != "bert.pooler.dense.bias"}
    checkpoint.write_tensors({**missing, "surprise": np.zeros(2)}, place / checkpoint.WEIGHTS)
    with pytest.raises(ValueError, match=r"missing bert\.pooler\.dense\.bias; left over surprise"):
        cross_folder.load_cross(place)


def test_segments_beyond_the_table_are_refused(three):
    told = json.loads(three.tokenizer.to_json())
    told["post_processor"]["pair"][3]["Sequence"]["type_id"] = 2
    from tokenizers import Tokenizer as Backend

    with pytest.raises(ValueError, match="the tokenizer gives pairs 3 segments, the encoder has rows for 2"):
        cross.make_cross(three.spec, three.params, Tokenizer(Backend.from_str(json.dumps(told)), None))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_length": 15}, "max_length must be from 1 to the encoder's 14 positions, got 15"),
        ({"activation": "Softmax"}, "activation 'Softmax' is unknown; there is Identity"),
    ],
)
def test_parts_that_do_not_fit_are_refused(three, change, message):
    with pytest.raises(ValueError, match=message):
        cross.make_cross(replace(three.spec, **change), three.params, three.tokenizer)


def test_what_is_no_pair_and_what_cannot_be_ranked(one, three, as_users_call):
    with pytest.raises(TypeError, match="pair 1 is 'ab', wanted two texts"):
        cross.score(one, [("a", "b"), "ab"])
    with pytest.raises(TypeError, match="pair 0 is 'ab', wanted two texts"):
        cross.score(one, ["ab"], prefix="q ")  # which must not become 'q a' and 'b'
    with pytest.raises(TypeError, match="wanted a list of pairs, got one text, 'a b'"):
        cross.score(one, "a b")
    with pytest.raises(TypeError, match="wanted a list of documents, got one text, 'a b'"):
        cross.rank(one, "a", "a b")
    with pytest.raises(ValueError, match="one score a pair, got one with labels no, perhaps, yes"):
        cross.rank(three, "a", ["b"])
    broken = one._replace(params=jax.tree.map(lambda leaf: leaf * np.nan, one.params))
    with pytest.raises(FloatingPointError, match="the logits of pair 0 are not finite"):
        cross.score(broken, [("a", "b")])


def test_a_folder_of_another_kind_is_never_replaced(one, tmp_path):
    there = shutil.copytree(GOLDEN / "images" / "vit", tmp_path / "vit")
    (there / "notes.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"a folder of the same kind, got ViTModel \(\['config\.json'"):
        cross_folder.save_cross(one, there)
    assert (there / "notes.txt").read_text() == "years of work"


@pytest.mark.parametrize("top", [0, -1])
def test_ranking_none_is_refused(one, top):
    with pytest.raises(ValueError, match=f"rank: top must be 1 or more, got {top}"):
        cross.rank(one, "a", ["b", "c"], top=top)
