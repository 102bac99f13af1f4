"""The gallery: examples/*.py in jupytext's percent format as pages, run when the site is built.

Each script becomes a notebook, which is run. Its page shows text, code, what the code prints and
what it draws, and links the script and the notebook. A script that fails ends the build.
"""

from __future__ import annotations

import base64
import os
import re
import tempfile
from pathlib import Path
from typing import NamedTuple

import jupytext
from mkdocs.exceptions import PluginError
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode, v4

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
FIRST_LINE = "# %% [markdown]"
SECONDS = 20
"""The most processor time that an example may take, imports included."""

LIMIT = 600
"""Seconds until a cell counts as hung, on however busy a machine."""

_FIGURE = re.compile(r"^<Figure size .*>$")


class Example(NamedTuple):
    """An example that was run.

    Attributes
    ----------
    name
        The script's name without its suffix.
    title
        Its heading.
    page
        Its page in Markdown.
    pictures
        What it drew, PNG, in order; the last one is on the page of all examples.
    notebook
        The notebook with its outputs, as JSON.
    """

    name: str
    title: str
    page: str
    pictures: list[bytes]
    notebook: str


def scripts() -> list[Path]:
    """Return the scripts of the gallery: those in percent format."""
    paths = sorted(EXAMPLES.glob("*.py"))
    return [path for path in paths if path.read_text("utf-8").startswith(FIRST_LINE)]


def processor_seconds() -> float:
    """Return the processor time of the processes that have ended, where the system counts it."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(path: Path) -> Example:
    """Run an example as a notebook, in an empty folder.

    Raises
    ------
    PluginError
        If a cell fails or writes to standard error, if nothing is drawn, and if it takes too long.
    """
    notebook = jupytext.read(path)
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    settings = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(
            notebook,
            timeout=LIMIT,
            startup_timeout=LIMIT,
            resources=resources,
            extra_arguments=["--log-level=ERROR"],
        )
        before = processor_seconds()
        try:
            client.execute(env=os.environ | settings)
        except CellExecutionError as error:
            raise PluginError(f"{path.name} failed: {error}") from None
        if (seconds := processor_seconds() - before) > SECONDS:
            raise PluginError(f"{path.name} takes {seconds:.0f} s, more than {SECONDS}.")
    page, pictures = as_markdown(notebook, path.stem)
    if not pictures:
        raise PluginError(f"{path.name} drew nothing.")
    title = re.search(r"^# (.+)$", page, re.MULTILINE)
    if title is None:
        raise PluginError(f"{path.name} has no heading.")
    return Example(path.stem, title[1], page, pictures, v4.writes(notebook))


def as_markdown(notebook: NotebookNode, name: str) -> tuple[str, list[bytes]]:
    """Return the page of a notebook that was run, and its pictures."""
    parts: list[str] = []
    pictures: list[bytes] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        printed = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
        shown = [output.data for output in cell.outputs if "data" in output]
        if any(output.get("name") == "stderr" for output in cell.outputs):
            raise PluginError(f"{name}.py wrote to standard error: {cell.outputs}")
        texts = [printed, *(data.get("text/plain", "") for data in shown)]
        for text in texts:
            if text and not _FIGURE.match(text):
                parts.append(f"```text\n{text.rstrip()}\n```")
        for data in shown:
            if "image/png" in data:
                pictures.append(base64.b64decode(data["image/png"]))
                parts.append(f"![{name}, figure {len(pictures)}]({name}-{len(pictures)}.png)")
    parts.append(f"Download: [{name}.py]({name}.py), [{name}.ipynb]({name}.ipynb)")
    return "\n\n".join(parts) + "\n", pictures


def index(examples: list[Example]) -> str:
    """Return the page of all examples, in their order, with the last picture of each."""
    cards = [
        f'<a href="{e.name}.html"><img src="{e.name}-{len(e.pictures)}.png" alt="">{e.title}</a>'
        for e in examples
    ]
    return (
        "# Examples\n\nEach is a short script of `examples/`, and a notebook. Pictures and printed "
        "lines are those of the machine that built these pages; none needs a download.\n\n"
        f'<div class="gallery">\n{"".join(cards)}\n</div>\n'
    )
