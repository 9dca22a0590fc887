"""Weights out of an ONNX file, int8 or float, by the names of the model that was exported; nothing in it is run.

The exporter of PyTorch names a node after the module that made it: `/encoder/layer.0/output/dense/MatMul` multiplies by
`encoder.layer.0.output.dense.weight`.  Dynamic quantization, as onnxruntime does it, keeps those names and puts in the
place of a float matrix `W` three tensors, for `W = (quantized - zero_point) * scale`, with one scale a matrix or one a
column.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxemb import extras


class Graph(NamedTuple):
    """What an ONNX file holds of an encoder.

    tensors: its weights, float32, named and laid out as in a checkpoint of PyTorch: matrices are (out, in).
    inputs, outputs: names of what goes in and comes out.
    config: what the constants of the graph say of the shape, by the names of `config.json`: `num_attention_heads`,
      `layer_norm_eps` and `hidden_act`, as far as they are found.
    """

    tensors: dict[str, np.ndarray]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    config: dict[str, Any]


def read_graph(file: Path | str) -> Graph:
    """Read a file's weights and the constants that tell its shape.

    Raises: FileNotFoundError; ValueError for what is no ONNX file, has weights in other files, or has a weight that is
      not understood, by its name.
    """
    onnx = extras.load("onnx")
    from google.protobuf.message import DecodeError  # onnx reads its files with it

    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; wanted an ONNX model")
    try:
        graph = onnx.load(file, load_external_data=False).graph
    except DecodeError as error:
        raise ValueError(f"{file.name}: not an ONNX file ({error})") from error
    if not graph.node:
        raise ValueError(f"{file.name}: not an ONNX file (it has no nodes)")
    outside = [held.name for held in graph.initializer if held.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        raise ValueError(f"{file.name}: weights must be in the file itself; {outside[0]} is in another")
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    constants = {
        node.output[0]: onnx.numpy_helper.to_array(given.t)
        for node in graph.node
        if node.op_type == "Constant"
        for given in node.attribute
        if given.name == "value"
    }
    names = tuple(one.name for one in graph.input if one.name not in held), tuple(one.name for one in graph.output)
    try:
        return Graph(_tensors(graph.node, held), *names, _config(graph.node, {**constants, **held}))
    except ValueError as error:
        raise ValueError(f"{file.name}: {error}") from error


def _tensors(nodes: Any, held: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every weight that is held, by the name of the module that multiplies by it, or else by its own."""
    left = dict(held)
    products = {node.input[1]: node for node in nodes if _is_in_out(node)}
    found: dict[str, np.ndarray] = {}

    def add(name: str, tensor: np.ndarray) -> None:
        if name in found:
            raise ValueError(f"{name} is there twice")
        found[name] = tensor

    for name in [name for name in held if name.endswith("_quantized")]:
        weight = _dequantized(name, left)
        if name in products:
            add(_module(products[name].name), weight.T)
        else:
            add(name.removesuffix("_quantized"), weight)
    for name, tensor in left.items():
        if name in products:
            add(_module(products[name].name), tensor.T)
        else:
            add(name, tensor)
    return found


def _is_in_out(node: Any) -> bool:
    """Whether a node multiplies by its second input as it is, so that it is held (in, out)."""
    turned = any(given.name == "transB" and given.i for given in node.attribute)
    return node.op_type in ("MatMulInteger", "MatMul", "Gemm") and not turned


def _dequantized(name: str, left: dict[str, np.ndarray]) -> np.ndarray:
    """`(quantized - zero_point) * scale`, float32; takes all three out of `left`."""
    base = name.removesuffix("_quantized")
    whole = left.pop(name)
    missing = [f"{base}{end}" for end in ("_scale", "_zero_point") if f"{base}{end}" not in left]
    if missing:
        raise ValueError(f"{name} has no {' and no '.join(missing)}")
    scale, zero = left.pop(f"{base}_scale"), left.pop(f"{base}_zero_point")
    if whole.dtype not in (np.int8, np.uint8) or zero.dtype != whole.dtype or scale.dtype != np.float32:
        kinds = f"{whole.dtype}, {zero.dtype} and {scale.dtype}"
        raise ValueError(f"{name}: wanted 8-bit numbers, a zero point like them and a float32 scale, got {kinds}")
    allowed = [(), (1,), whole.shape[-1:]]
    if scale.shape not in allowed or zero.shape not in allowed:
        raise ValueError(f"{name}: wanted one scale or {whole.shape[-1]}, got {scale.shape} and {zero.shape}")
    return (whole.astype(np.float32) - zero.astype(np.float32)) * scale


def _module(node: str) -> str:
    """The name of a module's weight, by that of the node that multiplies by it."""
    path, _, _ = node.strip("/").rpartition("/")
    if not path:
        raise ValueError(f"node {node!r} is not named after the module that it comes from")
    return f"{path.replace('/', '.')}.weight"


def _config(nodes: Any, constants: dict[str, np.ndarray]) -> dict[str, Any]:
    heads: set[int] = set()
    eps: set[float] = set()
    acts: set[str] = set()
    for node in nodes:
        known = [constants.get(name) for name in node.input]
        if node.op_type == "Concat" and "/attention/" in node.name and len(known) == 4 and known[2] is not None:
            heads.add(int(known[2].item()))
        if node.op_type == "Add" and "/LayerNorm/" in node.name and len(known) == 2:
            eps.update(float(f"{one.item():.6g}") for one in known if one is not None and one.size == 1)
        if "/intermediate_act_fn/" in node.name and node.op_type in _ACTIVATIONS:
            acts.add(_ACTIVATIONS[node.op_type])
    found: dict[str, set[Any]] = {"num_attention_heads": heads, "layer_norm_eps": eps, "hidden_act": acts}
    for key, values in found.items():
        if len(values) > 1:
            raise ValueError(f"{key} must be one value, the graph has {sorted(values)}")
    return {key: values.pop() for key, values in found.items() if values}


_ACTIVATIONS = {"Erf": "gelu", "Relu": "relu", "Tanh": "gelu_new"}
"""What the node tells that an activation is made with."""
