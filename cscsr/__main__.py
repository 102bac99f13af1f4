"""The command `cscsr`, also ``python -m cscsr``; an interrupt of its imports ends in a sentence."""

from __future__ import annotations

import sys

from cscsr import interrupts


def main() -> int:
    """Run the command with the words of the process; returns the exit code of `cscsr.cli.main`."""
    return interrupts.ended(_run)


def _run() -> int:
    from cscsr.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
