"""`python -m oxembed` is the command `oxembed`."""

import sys

from oxembed.cli import main

if __name__ == "__main__":
    sys.exit(main())
