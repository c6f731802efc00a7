"""The ONNX file, optimized by optimum."""

import sys
from pathlib import Path

from peer.make.onnx_variant import make

if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]), quantized=False)
