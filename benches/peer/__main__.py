"""Run one of the programs: `python -P -m peer NAME`."""

import sys

from peer.protocol import serve

if __name__ == "__main__":
    serve(sys.argv[1])
