"""What holds of every loader of a model folder: what it reads, and what it refuses by name.

GGUF and ONNX files, which are no such folders, have the same in `tests/model`.
"""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from tokenizers import Tokenizer as Backend

from jaxemb import checkpoint, model

GOLDEN = Path(__file__).parent.parent / "golden"
LETTERS = GOLDEN / "bert" / "new" / "tokenizer.json"


class Loader(NamedTuple):
    """A folder that `load` reads, without the files `less` and with those of `more`.

    tensor: one of its matrices, of which the other size is known from `config.json`.
    prefix: what may stand before the names of its tensors.
    """

    load: Callable[[Path], Any]
    folder: Path
    tensor: str
    prefix: str = ""
    less: tuple[str, ...] = ()
    more: tuple[Path, ...] = ()

    def copied(self, place: Path) -> Path:
        shutil.copytree(self.folder, place)
        for name in self.less:
            (place / name).unlink()
        for file in self.more:
            shutil.copy(file, place)
        return place


WORDS = "embeddings.word_embeddings.weight"
SEEN = "vision_model.embeddings.position_embedding.weight"
LOADERS = {
    "sentence-transformers": Loader(model.load, GOLDEN / "bert" / "new", WORDS, "bert."),
    "older": Loader(model.load, GOLDEN / "bert" / "old", WORDS, "bert."),
    "transformers": Loader(
        partial(model.load, pooling="mean"), GOLDEN / "bert" / "new", WORDS, "bert.", less=("modules.json",)
    ),
    "model2vec": Loader(model.load, GOLDEN / "static" / "plain", "embeddings"),
    "static": Loader(model.load, GOLDEN / "static" / "plain", "embeddings", less=("config.json",)),
    "late": Loader(model.load_late, GOLDEN / "folders" / "late", WORDS, "bert."),
    "pylate": Loader(model.load_late, GOLDEN / "folders" / "pylate", WORDS, "bert."),
    "cross": Loader(model.load_cross, GOLDEN / "heads" / "bert-classes", f"bert.{WORDS}", more=(LETTERS,)),
    "images": Loader(model.load_images, GOLDEN / "images" / "vit", "embeddings.position_embeddings", "vit."),
    "pair": Loader(model.load_text_images, GOLDEN / "images" / "clip", SEEN),
}
SHAPED = [name for name in LOADERS if name not in ("model2vec", "static")]
"""Those whose `config.json` says what shape the weights have."""
WORDED = [name for name in LOADERS if name != "images"]
"""Those with a tokenizer."""


@pytest.fixture(params=LOADERS)
def loader(request):
    return LOADERS[request.param]


def rewritten(folder: Path, change: Callable[[dict[str, np.ndarray]], None]) -> Path:
    """The folder with its tensors changed."""
    tensors = checkpoint.read_weights(folder)
    change(tensors)
    checkpoint.write_tensors(tensors, folder / checkpoint.WEIGHTS)
    return folder


def retold(folder: Path, **changes: Any) -> Path:
    """The folder with some keys of its `config.json` changed."""
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return folder


def arrays(found: Any) -> list[Any]:
    both = [found.text.params, found.image.params, found.constants] if isinstance(found, model.TextImage) else None
    return jax.tree.leaves(both or found.params)


def test_weights_in_several_files_are_those_in_one(loader, tmp_path):
    whole = loader.load(loader.copied(tmp_path / "whole"))
    cut = loader.copied(tmp_path / "cut")
    tensors = checkpoint.read_weights(cut)
    (cut / checkpoint.WEIGHTS).unlink()
    names = sorted(tensors)
    where = {name: f"model-{1 + (i >= len(names) // 2):05}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(where.values()):
        checkpoint.write_tensors({name: tensors[name] for name in names if where[name] == file}, cut / file)
    (cut / checkpoint.INDEX).write_text(json.dumps({"weight_map": where}))
    got, wanted = arrays(loader.load(cut)), arrays(whole)
    assert len(wanted) > 1
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)


class Trap:
    """Unpickled, it makes a folder."""

    def __init__(self, place: Path) -> None:
        self.place = str(place)

    def __reduce__(self):
        return os.mkdir, (self.place,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pkl", checkpoint.WEIGHTS])
def test_a_pickle_is_refused_and_never_opened(loader, tmp_path, name):
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    (tmp_path / "sprung").rmdir()  # so the trap works
    folder = loader.copied(tmp_path / "m")
    (folder / checkpoint.WEIGHTS).unlink()
    (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    message = "not a whole safetensors file" if name == checkpoint.WEIGHTS else f"found .*{name}.*never opened"
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        loader.load(folder)
    assert not (tmp_path / "sprung").exists()


def test_a_missing_tensor_is_named(loader, tmp_path):
    folder = rewritten(loader.copied(tmp_path / "m"), lambda tensors: tensors.pop(loader.tensor))
    with pytest.raises(ValueError, match=rf"missing .*{loader.tensor}|wanted one matrix 'embedding.*got"):
        loader.load(folder)


def test_a_tensor_too_many_is_named(loader, tmp_path):
    folder = rewritten(loader.copied(tmp_path / "m"), lambda tensors: tensors.update(surprise=np.zeros(2, np.float32)))
    with pytest.raises(ValueError, match=r"left over .*surprise"):
        loader.load(folder)


def test_a_tensor_of_another_shape_is_named(loader, tmp_path):
    def longer(tensors):
        tensors[loader.tensor] = np.concatenate([tensors[loader.tensor]] * 2, axis=-2)

    if loader.load is model.load and loader.folder.parent.name == "static":  # whose table may have any size
        longer = lambda tensors: tensors.update(embeddings=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"wanted shape \(|wanted one matrix 'embeddings', got .*\(3,\)"):
        loader.load(rewritten(loader.copied(tmp_path / "m"), longer))


@pytest.mark.parametrize("name", [name for name, loader in LOADERS.items() if loader.prefix])
def test_a_prefix_of_all_names_is_taken_off_and_of_one_is_an_error(name, tmp_path):
    loader = LOADERS[name]

    def prefixed(tensors):
        for name in list(tensors):
            tensors[loader.prefix + name.removeprefix(loader.prefix)] = tensors.pop(name)

    wanted = arrays(loader.load(loader.copied(tmp_path / "bare")))
    folder = rewritten(loader.copied(tmp_path / "m"), prefixed)
    for ours, theirs in zip(arrays(loader.load(folder)), wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    bare = loader.tensor.removeprefix(loader.prefix)
    rewritten(folder, lambda tensors: tensors.update({bare: tensors[loader.prefix + bare]}))
    with pytest.raises(ValueError, match=f"{bare} is there with '{loader.prefix}' before it and without"):
        loader.load(folder)


@pytest.mark.parametrize("name", SHAPED)
def test_an_unknown_architecture_or_key_is_named(name, tmp_path):
    loader = LOADERS[name]
    with pytest.raises(ValueError, match=r"model_type 'owl' (is unknown|reads no images); there is"):
        loader.load(retold(loader.copied(tmp_path / "a"), model_type="owl"))
    with pytest.raises(ValueError, match=r"unknown keys \['surprise'\]"):
        loader.load(retold(loader.copied(tmp_path / "b"), surprise=1))


@pytest.mark.parametrize("content", [b"[]", b'"bert"', b"{", b"\xff\xfe"])
@pytest.mark.parametrize("name", SHAPED)
def test_settings_that_are_none_are_named(name, content, tmp_path):
    folder = LOADERS[name].copied(tmp_path / "m")
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json: (wanted names and values|not JSON)"):
        LOADERS[name].load(folder)


@pytest.mark.parametrize("name", WORDED)
def test_a_tokenizer_with_more_ids_than_the_table_is_refused(name, tmp_path):
    folder = LOADERS[name].copied(tmp_path / "m")
    file = folder / "tokenizer.json"
    backend = Backend.from_file(str(file))
    backend.add_tokens([f"more-{i}" for i in range(200)])
    backend.save(str(file))
    with pytest.raises(ValueError, match=r"the tokenizer has \d+ ids, the (encoder|table) \d+ rows"):
        LOADERS[name].load(folder)


@pytest.mark.parametrize("name", [name for name in WORDED if name not in ("model2vec", "static")])
def test_how_a_tokenizer_is_used_is_checked(name, tmp_path):
    folder = LOADERS[name].copied(tmp_path / "m")
    file = folder / "tokenizer_config.json"
    for told, message in (
        ({"truncation_side": "left"}, "truncation_side must be 'right', got 'left'"),
        ({"model_max_length": -1}, "model_max_length must be a number above 0, got -1"),
        ([], "tokenizer_config.json: wanted names and values"),
    ):
        for settings in folder.glob("sentence_*_config.json"):  # whose length would be asked first
            settings.unlink()
        file.write_text(json.dumps(told))
        with pytest.raises(ValueError, match=message):
            LOADERS[name].load(folder)
