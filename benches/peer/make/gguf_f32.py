"""The model as a GGUF file, in float32."""

import sys
from pathlib import Path

from peer.make.gguf_file import write

if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]) / "model.gguf", quantized=False)
