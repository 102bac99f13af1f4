"""What MkDocs does beyond rendering docs/: files that pages link, the public API, its names.

- A page links files of the repository as on a code host (``../reports/reference/table1.md``).
  Each linked file comes into the site under its path in the repository: Markdown as a page,
  Python as a listing (an example as its page in the gallery), anything else as it is. So the site
  needs no other address.
- The build fails if a public name has no docstring or stands on no page of docs/api.
- A code span that is a public name links to its entry.
"""

from __future__ import annotations

import html
import posixpath
import re
import sys
from functools import cache
from pathlib import Path

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # MkDocs reads this file by its path

from website import gallery  # noqa: E402

TOP_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SUPPORT.md", "CODE_OF_CONDUCT.md")
"""Pages in the root of the repository that have a place in the navigation."""

PUBLIC_MODULES = (
    "cscsr",
    "cscsr.imaging",
    "cscsr.learn",
    "cscsr.plot",
    "cscsr.networks",
    "cscsr.data.datasets",
    "cscsr.data.fetch",
    "cscsr.data.problems",
    "cscsr.testing",
    "cscsr.operators",
    "cscsr.sparse.loop",
    "cscsr.sparse.proximal",
    "cscsr.training.recipe",
    "cscsr.training.run",
    "cscsr.weights",
    "cscsr.compare.results",
)
"""Modules for users; the others may change without notice."""

_LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?(?: \"[^\"]*\")?\))")
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_WIDE = "---\nhide:\n  - toc\n---\n\n"  # a line of code has up to 100 characters
_NOT_LISTED = "---\nsearch:\n  exclude: true\n---\n\n"


def path_in_repository(uri: str, config: MkDocsConfig) -> str:
    """Return the path of a page's source, from the root of the repository."""
    inside = (Path(config.docs_dir) / uri).exists()
    return f"docs/{uri}" if inside else uri.removesuffix(".md") if uri.endswith(".py.md") else uri


def uri_in_site(path: str) -> str:
    """Return where a file of the repository stands in the site."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path == "README.md":  # the site's own first page says the same
        return path
    if path.startswith("examples/") and ROOT / path in gallery.scripts():
        return f"gallery/{Path(path).stem}.md"
    return f"{path}.md" if path.endswith(".py") else path


def linked_paths(markdown: str, path: str) -> set[str]:
    """Return the paths in the repository that a page at `path` links to."""
    folder = posixpath.dirname(path)
    links = _LINK.finditer(_FENCE.sub("", markdown))
    return {posixpath.normpath(posixpath.join(folder, link[2])) for link in links}


def _site_file(path: str, config: MkDocsConfig) -> File:
    """Return a file of the repository outside docs/ as a file of the site."""
    uri = uri_in_site(path)
    if path.endswith(".py"):
        source = (ROOT / path).read_text(encoding="utf-8")
        content = f"{_NOT_LISTED}# `{path}`\n\n~~~python\n{source}~~~\n"
        return File.generated(config, uri, content=content)
    return File.generated(config, uri, abs_src_path=str(ROOT / path))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside docs/ that pages link to, and those that these link to."""
    waiting = [
        (f"docs/{file.src_uri}", file.content_string) for file in files.documentation_pages()
    ]
    added = set(TOP_PAGES)
    for name in TOP_PAGES:
        file = _site_file(name, config)
        files.append(file)
        waiting.append((name, file.content_string))
    while waiting:
        path, markdown = waiting.pop()
        for target in linked_paths(markdown, path) - added:
            there = target == "README.md" or uri_in_site(target).startswith("gallery/")
            if target.startswith("docs/") or there or not (ROOT / target).is_file():
                continue  # it is there already, or MkDocs reports that it is not there
            added.add(target)
            file = _site_file(target, config)
            files.append(file)
            if target.endswith(".md"):
                waiting.append((target, file.content_string))
    for file in gallery_files(files, config):
        files.append(file)
    return files


def gallery_files(files: Files, config: MkDocsConfig) -> list[File]:
    """Run the examples, in the order of the navigation, and return the pages and their files."""
    order = re.findall(r"gallery/(\w+)\.md", str(config.nav))
    paths = {path.stem: path for path in gallery.scripts()}
    names = [name for name in order if name in paths] + sorted(paths.keys() - set(order))
    examples = [gallery.run(paths[name]) for name in names]
    made: dict[str, str | bytes] = {"index.md": gallery.index(examples)}
    for example in examples:
        made[f"{example.name}.md"] = f"{_WIDE}{example.page}"
        made[f"{example.name}.ipynb"] = example.notebook
        made[f"{example.name}.py"] = paths[example.name].read_text(encoding="utf-8")
        for number, picture in enumerate(example.pictures, 1):
            made[f"{example.name}-{number}.png"] = picture
    return [File.generated(config, f"gallery/{name}", content=made[name]) for name in made]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links between files of the repository to their places in the site."""
    path = path_in_repository(page.file.src_uri, config)
    here = posixpath.dirname(page.file.src_uri)

    def moved(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link[2]))
        if not (ROOT / target).is_file():
            return link[0]
        return f"{link[1]}{posixpath.relpath(uri_in_site(target), here or '.')}{link[3]}"

    return _LINK.sub(moved, markdown)


@cache
def public_names() -> dict[str, griffe.Object | griffe.Alias]:
    """Return every public name, by its path, as griffe reads it from the source."""
    package = griffe.load("cscsr", search_paths=[str(ROOT)], resolve_aliases=True)
    names: dict[str, griffe.Object | griffe.Alias] = {}
    for path in PUBLIC_MODULES:
        module = package if path == "cscsr" else package[path.removeprefix("cscsr.")]
        for name, member in module.members.items():
            chosen = name in module.exports if module.exports else not name.startswith("_")
            if chosen and (module.exports or not (member.is_alias or member.is_module)):
                names[f"{path}.{name}"] = member
    return names


def undocumented(names: dict[str, griffe.Object | griffe.Alias]) -> list[str]:
    """Return the public names, methods of public classes included, that no docstring describes."""
    missing = []
    for path, entry in names.items():
        if not entry.has_docstring:
            missing.append(path)
        if entry.is_class:
            inherited = {
                name for base in entry.mro() for name, m in base.members.items() if m.has_docstring
            }
            missing += [
                f"{path}.{name}"
                for name, member in entry.members.items()
                if member.is_function
                and not name.startswith("_")
                and not (member.has_docstring or name in inherited)
            ]
    return missing


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Link code spans that are public names to their entries, and pages that docstrings name."""
    short = {path.rpartition(".")[2]: path for path in reversed(public_names())}
    short |= {path: path for path in public_names()}
    to_top = "../" * page.file.src_uri.count("/")

    def linked(span: re.Match[str]) -> str:
        path = short.get(html.unescape(span[1]))
        if path is None:
            return span[0]
        return f'<autoref identifier="{path}" optional>{span[0]}</autoref>'

    parts = re.split(r"(<pre.*?</pre>|<a [^>]*>.*?</a>|<h\d.*?</h\d>)", content, flags=re.DOTALL)
    for n in range(0, len(parts), 2):
        parts[n] = re.sub(r"<code>([\w.]+)(?:\(\))?</code>", linked, parts[n])
        parts[n] = re.sub(r"\bdocs/([\w-]+)\.md\b", rf'<a href="{to_top}\1.html">\1</a>', parts[n])
    return "".join(parts)


def complaint(names: dict[str, griffe.Object | griffe.Alias], entries: set[str]) -> str | None:
    """Return what is wrong with the public names: no docstring, or no entry in the site."""
    if missing := undocumented(names):
        return f"These public names have no docstring: {', '.join(missing)}."
    if absent := [path for path in names if path not in entries]:
        return f"No page of docs/api has {', '.join(absent)}."
    return None


def on_post_build(config: MkDocsConfig) -> None:
    """Fail if a public name has no docstring or no entry in the site."""
    if sentence := complaint(
        public_names(), set(config.plugins["mkdocstrings"].handlers.inventory)
    ):
        raise PluginError(sentence)
