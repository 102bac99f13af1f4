"""``python -m cscsr`` is the command `cscsr`."""

import sys

from cscsr.cli import main

if __name__ == "__main__":
    sys.exit(main())
