"""The OpenVINO file quantized to int8 by NNCF, calibrated with sentences like those measured: in its favour."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import nncf
import openvino
from transformers import AutoTokenizer

SENTENCES = Path(__file__).resolve().parents[3] / "data" / "sentences.txt"
# As many as NNCF takes unless told otherwise.
SAMPLES = 300


def main(source: Path, target: Path) -> None:
    """Quantize the model in `source`."""
    whole = target / "whole"
    shutil.copytree(source / "whole", whole)
    file = whole / "openvino" / "openvino_model.xml"
    core = openvino.Core()
    model = core.read_model(source / "whole" / "openvino" / "openvino_model.xml")
    names = {port.get_any_name() for port in model.inputs}
    tokenizer = AutoTokenizer.from_pretrained(whole)
    sentences = SENTENCES.read_text(encoding="utf-8").splitlines()[:SAMPLES]
    samples = [
        {name: array for name, array in tokenizer(text, return_tensors="np").items() if name in names}
        for text in sentences
    ]
    quantized = nncf.quantize(
        model, nncf.Dataset(samples), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples)
    )
    openvino.save_model(quantized, file, compress_to_fp16=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
