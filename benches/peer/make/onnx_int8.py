"""The ONNX file, weights and activations quantized to int8 by ONNX Runtime's dynamic quantization."""

import sys
from pathlib import Path

from peer.make.onnx_variant import make

if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]), quantized=True)
