"""The site: it builds strictly, has every public name, and needs no server and no other host."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from PIL import Image

import cscsr
import cscsr.imaging

ROOT = Path(__file__).parents[2]

for tool in ("mkdocs", "material", "mkdocstrings_handlers.python", "jupytext", "nbclient"):
    pytest.importorskip(tool, reason=f"no {tool}: make docs-tools installs the extra cscsr[docs]")
griffe = pytest.importorskip("griffe")
PluginError = pytest.importorskip("mkdocs.exceptions").PluginError


def module_from(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hooks = module_from(ROOT / "website" / "hooks.py")
gallery = hooks.gallery


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    settings = os.environ | {
        "PYTHONPATH": str(ROOT),
        "NO_MKDOCS_2_WARNING": "1",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=900
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built as `make docs` builds it; the build has no warning."""
    folder = tmp_path_factory.mktemp("site")
    ended = build(folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


class Page(HTMLParser):
    """The ids, links and resources of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.resources: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if "id" in values:
            self.ids.add(values["id"])
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") not in ("prev", "next", "canonical"):
            self.resources.append(values["href"])
        elif values.get("src"):
            self.resources.append(values["src"])


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


@pytest.mark.slow
def test_every_public_name_has_an_entry(site, pages):
    entries = set().union(*(page.ids for path, page in pages.items() if path.parent.name == "api"))
    assert {f"cscsr.{name}" for name in cscsr.__all__} <= entries
    assert {f"cscsr.imaging.{name}" for name in cscsr.imaging.__all__} <= entries
    assert "cscsr.sparse.proximal.ProximalSolver" in entries


@pytest.mark.slow
def test_every_link_leads_to_a_page_and_a_place_in_it(site, pages):
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                broken.append(f"{path.relative_to(site)}: {link}")
            elif parts.fragment and target in pages:
                ids = pages[target].ids
                if unquote(parts.fragment) not in ids | {"__skip"}:
                    broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken


@pytest.mark.slow
def test_nothing_comes_from_another_host(site, pages):
    assert len(pages) > 30
    resources = {r for page in pages.values() for r in page.resources if not r.startswith("data:")}
    assert resources and not [r for r in resources if urlsplit(r).scheme or r.startswith("//")]
    styles = "".join(path.read_text("utf-8") for path in site.rglob("*.css"))
    assert not re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\s]+", styles)


@pytest.mark.slow
def test_files_outside_docs_are_in_the_site(site, pages):
    assert "cscsr.SparseCoding" in (site / "maths.html").read_text("utf-8")
    listing = (site / "cscsr" / "problem.py.html").read_text("utf-8")
    assert "class</span>" in listing and ">SparseCoding</span>" in listing
    table = (ROOT / "reports" / "reference" / "table1.md").read_text("utf-8")
    figure = re.search(r"\d\d\.\d\d", table).group()
    assert figure in (site / "reports" / "reference" / "table1.html").read_text("utf-8")
    assert (site / "reports" / "reference" / "csc-sr" / "filters.png").is_file()


def printed(site: Path, name: str) -> str:
    """What an example printed, from its notebook."""
    notebook = json.loads((site / "gallery" / f"{name}.ipynb").read_text("utf-8"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return "".join("".join(o["text"]) for o in outputs if o["output_type"] == "stream")


@pytest.mark.slow
def test_every_example_has_a_page_with_its_picture_and_a_notebook(site, pages):
    index = (site / "gallery" / "index.html").read_text("utf-8")
    for path in gallery.scripts():
        page = pages[site / "gallery" / f"{path.stem}.html"]
        assert {f"{path.stem}.py", f"{path.stem}.ipynb"} <= set(page.links)
        picture = np.asarray(Image.open(site / "gallery" / f"{path.stem}-1.png").convert("L"))
        assert min(picture.shape) > 200 and np.ptp(picture) > 100
        assert f'href="{path.stem}.html"' in index
        assert (site / "gallery" / path.name).read_text("utf-8") == path.read_text("utf-8")


@pytest.mark.slow
def test_examples_show_what_their_text_says(site):
    difference = re.search(r"difference of the iterates: (\S+)", printed(site, "cista_is_ista"))
    assert 0 < float(difference[1]) < 1e-13
    difference = re.search(r"difference from cscsr.CSCSR: (\S+)", printed(site, "csc_sr_steps"))
    assert float(difference[1]) < 1e-5
    random, learned = re.findall(r"objective (\d+\.\d+), ", printed(site, "learn_a_dictionary"))
    assert float(learned) < 0.95 * float(random)
    bicubic, csc_sr = map(float, re.findall(r"(\d+\.\d+) dB", printed(site, "csc_sr_steps")))
    assert csc_sr > bicubic + 0.5
    own = printed(site, "your_own_solver")
    assert "array_types: back-projection returned" in own and "the contract is kept" in own
    means = re.findall(r"^(\S+) .* (\d+\.\d+)$", own, re.MULTILINE)
    means = {name: float(value) for name, value in means}
    assert means["bicubic"] < means["back-projection"] < means["crnet-b-small"]
    raced = re.findall(r"^\| (\S+) +\| +(– )?", printed(site, "admm_or_ista"), re.MULTILINE)
    assert raced[0] == ("solver", "") and raced[-1] == ("ista", "– ")
    assert {"admm", "active-set", "fista", "sporco-admm"} < {name for name, _ in raced}
    for line in printed(site, "crnet_recursions").splitlines():
        first, last = map(float, re.findall(r"(\d+\.\d+) dB", line))
        assert last > first
    assert "fista needs" in printed(site, "unrolled_lista")


@pytest.fixture(scope="module")
def browser():
    driver = module_from(ROOT / "tests" / "compare" / "browser.py")
    if reason := driver.missing():
        pytest.skip(reason)
    with driver.Browser() as started:
        yield started


@pytest.mark.slow
def test_search_works_from_a_folder_of_files(site, browser):
    browser.resize(1280)
    browser.open(site / "index.html")
    browser.wait("typeof __index == 'object' && document.querySelector('.md-search__input')")
    browser.run(
        "document.querySelector('[data-md-toggle=search]').click();"
        "document.querySelector('.md-search__input').focus()"
    )
    browser.press(*"active set")
    results = "[...document.querySelectorAll('.md-search-result__link')].map(a => a.href)"
    browser.wait(f"{results}.length")
    assert any("solvers.html" in link for link in browser.run(f"return {results}"))


@pytest.mark.slow
def test_pages_fit_a_phone_and_load_files_only(site, pages, browser):
    width = "return document.documentElement.scrollWidth"
    browser.resize(390)
    browser.messages()  # the search says something of half a query
    for path in pages:
        if path.relative_to(site).parts[0] in ("cscsr", "benchmarks", "tests"):
            continue  # listings
        browser.open(path)
        assert browser.run(width) <= 390, path.relative_to(site)
        loaded = browser.run("return performance.getEntriesByType('resource').map(e => e.name)")
        assert not [name for name in loaded if not name.startswith(("file:", "data:"))]
        assert browser.messages() == [], path.relative_to(site)
        # nor is it wider before the theme's script has put the tables into boxes that scroll
        browser.command("Emulation.setScriptExecutionDisabled", value=True)
        browser.open(path)
        assert browser.run(width) <= 390, path.relative_to(site)
        browser.command("Emulation.setScriptExecutionDisabled", value=False)


def names_of(tmp_path, source: str):
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "sample.py").write_text(source)
    members = griffe.load("sample", search_paths=[str(tmp_path)]).members
    return {f"sample.{name}": member for name, member in members.items()}


def test_names_without_a_docstring_are_found(tmp_path):
    names = names_of(
        tmp_path,
        'class Base:\n    """A base."""\n    def solve(self):\n        """Solve."""\n'
        'class Solver(Base):\n    """A solver."""\n'
        "    def solve(self): ...\n    def other(self): ...\n"
        "    def _hidden(self): ...\n"
        'SCALES = (2, 3)\nNEAR = 1\n"""A distance."""\ndef make(): ...\n',
    )
    assert hooks.undocumented(names) == ["sample.Solver.other", "sample.SCALES", "sample.make"]


def test_a_name_without_docstring_or_page_is_a_complaint(tmp_path):
    bare = names_of(tmp_path, "def make(): ...\n")
    assert "no docstring: sample.make." in hooks.complaint(bare, entries={"sample.make"})
    described = names_of(tmp_path / "other", 'def make():\n    """Make."""\n')
    assert "page of docs/api has sample.make" in hooks.complaint(described, entries=set())
    assert hooks.complaint(described, entries={"sample.make"}) is None


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("docs/maths.md", "maths.md"),
        ("docs/api/index.md", "api/index.md"),
        ("reports/reference/table1.md", "reports/reference/table1.md"),
        ("cscsr/problem.py", "cscsr/problem.py.md"),
        ("README.md", "README.md"),
        ("examples/admm_or_ista.py", "gallery/admm_or_ista.md"),
    ],
)
def test_place_of_a_file_in_the_site(path, uri):
    assert hooks.uri_in_site(path) == uri


def test_links_in_code_are_no_links():
    page = "[a](../x.md#y)\n```\n[b](c.md)\n```\n[d](https://e.f/g.md) ![h](h.png)"
    assert hooks.linked_paths(page, "docs/page.md") == {"x.md", "docs/h.png"}


def notebook_of(*outputs):
    nbformat = pytest.importorskip("nbformat")
    cell = nbformat.v4.new_code_cell("draw()", outputs=[nbformat.from_dict(o) for o in outputs])
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A title"), cell])


def test_a_page_shows_code_then_text_then_pictures():
    picture = io.BytesIO()
    Image.new("L", (3, 2)).save(picture, "PNG")
    encoded = base64.b64encode(picture.getvalue()).decode()
    drawn = {"image/png": encoded, "text/plain": "<Figure size 10x10 with 1 Axes>"}
    page, pictures = gallery.as_markdown(
        notebook_of(
            {"output_type": "stream", "name": "stdout", "text": "one\n"},
            {"output_type": "stream", "name": "stdout", "text": "two\n"},
            {"output_type": "display_data", "data": drawn, "metadata": {}},
        ),
        "example",
    )
    assert pictures == [picture.getvalue()]
    assert page.startswith("# A title\n\n```python\ndraw()\n```\n\n```text\none\ntwo\n```\n\n![")
    assert "(example-1.png)" in page and "<Figure" not in page


def test_an_example_that_warns_ends_the_build():
    warned = {"output_type": "stream", "name": "stderr", "text": "RuntimeWarning"}
    with pytest.raises(PluginError, match="RuntimeWarning"):
        gallery.as_markdown(notebook_of(warned), "example")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "sentence"), [("1 / 0", "ZeroDivisionError"), ("print(1)", "drew nothing")]
)
def test_an_example_that_fails_ends_the_build(tmp_path, code, sentence):
    (tmp_path / "example.py").write_text(f"# %% [markdown]\n# # A title\n\n# %%\n{code}\n")
    with pytest.raises(PluginError, match=sentence):
        gallery.run(tmp_path / "example.py")
