"""The model as a GGUF file, the matrices of its layers in 8 bits (Q8_0)."""

import sys
from pathlib import Path

from peer.make.gguf_file import write

if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]) / "model.gguf", quantized=True)
