"""Builds paper/paper.pdf from paper.md and paper.bib: python paper/build.py, or make paper.

The paper has the form of the Journal of Open Source Software, whose own build also starts with
pandoc. Needs the extra cscsr[paper].
"""

from __future__ import annotations

import sys
from pathlib import Path

import pypandoc
import typst
import yaml

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "paper.md"


def typst_source() -> str:
    """Return the paper in Typst's language, with its citations resolved.

    Raises
    ------
    RuntimeError
        If pandoc warns, for example of a citation without an entry in paper.bib.
    """
    _, front_matter, _ = SOURCE.read_text(encoding="utf-8").split("---\n", 2)
    authors = [author["name"] for author in yaml.safe_load(front_matter)["authors"]]
    options = ["--standalone", "--citeproc", "--fail-if-warnings", "--columns=200"]
    options += [f"--metadata=author:{name}" for name in authors]
    options += [
        "--variable=papersize:a4",
        "--variable=fontsize:10pt",
        "--variable=linkcolor:004f59",
    ]
    return pypandoc.convert_file(
        SOURCE, "typst", format="markdown", extra_args=options, cworkdir=str(FOLDER)
    )


def pages(format: str = "pdf") -> bytes | list[bytes]:
    """Return the paper as a PDF, or each of its pages as a PNG.

    Parameters
    ----------
    format
        ``"pdf"`` or ``"png"``.
    """
    world = FOLDER.parent  # the figures lie beside this folder
    source = FOLDER / "paper.typ"
    source.write_text(typst_source(), encoding="utf-8")
    try:
        return typst.compile(source, root=world, format=format)
    finally:
        source.unlink()


def main() -> int:
    """Write paper.pdf."""
    target = FOLDER / "paper.pdf"
    target.write_bytes(pages())
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
