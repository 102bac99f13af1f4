"""`python -m cscsr.compare.page`."""

import sys

from cscsr import interrupts
from cscsr.compare.page import main

sys.exit(interrupts.ended(main))
