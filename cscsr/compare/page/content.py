"""The page of a summary: its sections, put into page.html.

All contents come from a `Summary` and the results database. Text from outside (names, messages,
commands) is escaped; page.js adds it as text nodes only.
"""

from __future__ import annotations

from pathlib import Path
from string import Template

from cscsr.compare import trained_alike
from cscsr.compare.grid import make_tables
from cscsr.compare.page.alike import alike_section
from cscsr.compare.page.answer import answers, picker
from cscsr.compare.page.data import page_data, page_pictures, script_json
from cscsr.compare.page.elements import escaped
from cscsr.compare.page.figures import figures_section, ordered
from cscsr.compare.page.quality import quality_table, table_files
from cscsr.compare.page.sources import Sources
from cscsr.compare.results import Results
from cscsr.compare.summary import BEST, Summary, notes_of, remarks

_HERE = Path(__file__).parent


def page_of(summary: Summary, results: Results) -> str:
    """Return the page, as HTML.

    Parameters
    ----------
    summary
        The summary of the run.
    results
        Its database, for figures, pictures and commands.
    """
    sources = Sources(summary, results.commands())
    pictures = page_pictures(summary, results)
    stored = results.figures()
    figures, alike = ordered(stored), alike_section(stored.get(trained_alike.NAME))
    plan, finished = summary.run["plan"], summary.run["finished"]
    state = f"finished {finished}" if finished else "interrupted before its end"
    contents = (
        f"{len(summary.solvers)} solvers, {', '.join(plan['datasets'])}, "
        f"{', '.join(f'×{scale}' for scale in plan['scales'])}"
    )
    sentences = [*remarks(summary), *notes_of(summary)]
    template = Template((_HERE / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        style=(_HERE / "page.css").read_text(encoding="utf-8"),
        script=(_HERE / "page.js").read_text(encoding="utf-8"),
        contents=escaped(contents),
        state=escaped(state.replace("T", " ").replace("+00:00", " UTC")),
        picker=picker(summary),
        answers=answers(summary, sources),
        no_pictures="" if pictures else "hidden",
        tables="".join(quality_table(table, sources) for table in make_tables(summary)),
        best=escaped(BEST),
        files=table_files(summary),
        no_alike="" if alike else "hidden",
        alike=alike,
        no_figures="" if figures else "hidden",
        figures=figures_section(figures),
        made="".join(f"<li>{escaped(sentence)}</li>" for sentence in sentences),
        command=escaped("\n".join(reversed(summary.commands))),
        data=script_json(page_data(summary, sources)),
        pictures=script_json(pictures),
    )
