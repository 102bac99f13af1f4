"""The report in a real browser: it opens without an error, and what can be moved moves."""

import base64
import importlib.util
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cscsr.compare.records import FILE_NAME
from cscsr.compare.results import Results
from cscsr.compare.summary import summarise

_spec = importlib.util.spec_from_file_location("browser", Path(__file__).with_name("browser.py"))
driver = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(driver)

ARROW_RIGHT, ENTER, ESCAPE, TAB, SHIFT = "\ue014", "\ue007", "\ue00c", "\ue004", "\ue008"


@pytest.fixture(scope="module")
def session():
    reason = driver.missing()
    if reason is not None:
        pytest.skip(reason)
    with driver.Browser() as started:
        yield started


@pytest.fixture
def browser(session, report):
    """The report, opened at 1280 pixels; after the test the console must be clean."""
    session.resize(1280)
    session.prefer("light")
    session.open(report)
    session.wait("document.querySelectorAll('#crops canvas').length")
    yield session
    assert session.messages() == []


@pytest.fixture(scope="module")
def summary(report):
    with Results(report.with_name(FILE_NAME)) as results:
        return summarise(results)


def texts(browser, selector):
    return browser.run(
        "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())", selector
    )


def click(browser, selector):
    browser.run("document.querySelector(arguments[0]).click()", selector)


def choose(browser, selector, value):
    browser.run(
        "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
        "e.dispatchEvent(new Event('change', {bubbles: true}));"
        "e.dispatchEvent(new Event('input', {bubbles: true}))",
        selector,
        value,
    )


@pytest.mark.slow
def test_every_image_loads(browser):
    images = browser.run(
        "return [...document.images].filter(i => i.src).map(i => [i.complete, i.naturalWidth])"
    )
    assert len(images) >= 9
    assert all(complete and width > 0 for complete, width in images)
    assert (
        browser.run(
            "return performance.getEntriesByType('resource').filter("
            "r => !r.name.startsWith('data:')).length"
        )
        == 0
    )


@pytest.mark.parametrize("width", [1280, 400, 390])
def test_nothing_is_wider_than_the_window(browser, width):
    browser.resize(width)
    assert browser.run("return document.documentElement.scrollWidth") <= width


def test_a_click_on_a_heading_sorts(browser):
    def column():
        cells = "#table2 tbody tr td:nth-of-type(2)"
        return browser.run(
            "return [...document.querySelectorAll(arguments[0])].map(c => c.dataset.value)", cells
        )

    def state():
        return browser.run(
            "return document.querySelectorAll('#table2 th[aria-sort]')[2].getAttribute('aria-sort')"
        )

    def ordered(values):
        numbers = [float(value) for value in values if value]
        assert values[len(numbers) :] == [""] * (len(values) - len(numbers)), "empty cells last"
        return numbers

    before = column()
    assert len(before) > 5
    for expected, turned in (("descending", True), ("ascending", False)):
        click(browser, "#table2 button[data-column='2']")
        assert state() == expected
        numbers = ordered(column())
        assert numbers == sorted(numbers, reverse=turned)
    assert sorted(column()) == sorted(before)


def test_a_cell_tells_where_it_came_from(browser):
    click(browser, "#table1 button.cell")
    assert browser.run("return document.getElementById('source').open")
    facts = dict(zip(texts(browser, "#source dt"), texts(browser, "#source dd"), strict=True))
    assert facts["Weights (SHA-256)"] == "none: the solver is not trained"
    assert facts["Line"].startswith("y: ")
    assert "Python" in facts["Machine"]
    assert texts(browser, "#source pre") == ["python -m benchmarks.compare --for 'a <test> & more'"]
    browser.press(ESCAPE)
    browser.wait("!document.getElementById('source').open")


def test_the_place_is_chosen_by_keyboard(browser, summary):
    shown = "return document.querySelector('.answer:not([hidden])').dataset.place"
    assert browser.run(shown) == "B100/3"
    browser.run("document.querySelector('input[name=dataset]:checked').focus()")
    browser.press(ARROW_RIGHT)
    assert browser.run(shown) == "Set5/3"
    assert texts(browser, "#pairs-place") == ["Set5 ×3"]
    assert browser.run("return location.hash") == "#Set5/3"
    best = summary.ranking(summary.places[3])[0].solver
    assert browser.run("return document.getElementById('reference').value") == best


def test_an_address_with_a_place_opens_there(session, report):
    session.open(report, "#Set5/2/noise:5")
    session.wait("document.querySelectorAll('#crops canvas').length")
    assert session.run("return document.querySelector('.answer:not([hidden])').dataset.place") == (
        "Set5/2/noise:5"
    )


def test_differences_are_those_to_the_chosen_solver(browser, summary):
    choose(browser, "#reference", "bicubic")
    rows = texts(browser, "#pairs-rows tr")
    (place,) = (place for place in summary.places if str(place) == "B100 ×3")
    for solver in summary.solvers[1:]:
        difference = summary.difference(place, solver, "bicubic")
        (row,) = (row for row in rows if row.split()[0] == solver)
        assert f"{abs(difference.mean_db):.2f}"[:3] in row
        assert f"{difference.won} : {difference.lost} of {difference.images}" in row
        assert difference.verdict in row
    assert browser.run("return document.querySelectorAll('#pairs-rows svg path').length") >= 3 * 12


def test_the_slider_moves_by_key_and_by_hand(browser):
    clip = "return document.getElementById('wipe-over').style.clipPath"
    assert browser.run(clip) == "inset(0px 50% 0px 0px)"
    browser.run("document.getElementById('wipe').focus()")
    browser.press(ARROW_RIGHT, ARROW_RIGHT)
    assert browser.run(clip) == "inset(0px 48% 0px 0px)"
    choose(browser, "#wipe", "80")
    assert browser.run(clip) == "inset(0px 20% 0px 0px)"
    assert browser.run("return document.getElementById('wipe-line').style.left") == "80%"
    before = browser.run("return document.getElementById('wipe-over').src")
    choose(browser, "#wipe-left", "sharpened-0.6")
    assert browser.run("return document.getElementById('wipe-over').src") != before


def _stored(report, number, solver):
    """The true and a solver's pixels of a showcase image, as the page holds them."""
    page = report.read_text(encoding="utf-8")
    case = json.loads(re.search(r'id="pictures">(.*?)</script>', page, re.DOTALL)[1])[number]
    png = next(picture["png"] for picture in case["pictures"] if picture["solver"] == solver)
    return [
        np.array(Image.open(io.BytesIO(base64.b64decode(data)))).astype(float)
        for data in (case["truth"]["png"], png)
    ]


def test_a_dragged_box_shows_its_crops_with_their_psnr(browser, report):
    browser.run("document.getElementById('stage').scrollIntoView({block: 'center'})")
    frame = browser.run(
        "const r = document.getElementById('stage-image').getBoundingClientRect();"
        "return [r.left, r.top, r.width, r.height]"
    )
    left, top, *_ = frame
    browser.drag((left + 6, top + 4), (left + 30, top + 24))
    browser.wait("document.querySelector('#crops canvas').width == 24")
    assert browser.run("return document.querySelector('#crops canvas').height") == 20
    where = texts(browser, "#box-text")[0]
    wide, high, column, row = map(
        int, re.search(r"(\d+)×(\d+) pixels from column (\d+), row (\d+)", where).groups()
    )
    assert (wide, high) == (24, 20)
    truth, estimate = (
        pixels[row : row + high, column : column + wide]
        for pixels in _stored(report, 0, "sharpened-0.6")
    )
    expected = 10 * np.log10(255**2 / np.mean((truth - estimate) ** 2))
    (caption,) = (t for t in texts(browser, "#crops figcaption") if t.startswith("sharpened-0.6\n"))
    assert f"{expected:.2f} dB" in caption


def test_the_box_moves_by_keyboard(browser):
    def box():
        return [int(n) for n in re.findall(r"\d+", texts(browser, "#box-text")[0].split(": ")[1])]

    browser.run("document.getElementById('stage').focus()")
    choose_small = "for (let n = 0; n < 6; n += 1) document.getElementById('stage').dispatchEvent("
    browser.run(choose_small + "new KeyboardEvent('keydown', {key: 'ArrowLeft', shiftKey: true}))")
    wide, high, column, row = box()
    browser.press(ARROW_RIGHT)
    assert box() == [wide, high, column + 4, row]


def test_zoom_and_thumbnails(browser):
    before = browser.run("return document.querySelector('#crops canvas').offsetWidth")
    click(browser, ".zoom button[data-zoom='2']")
    assert browser.run("return document.querySelector('#crops canvas').offsetWidth") == 2 * before
    click(browser, "#showcases button:nth-child(6)")
    browser.wait("document.querySelectorAll('#showcases button')[5].ariaPressed == 'true'")
    assert "Set5" in texts(browser, "#box-text")[0]


def test_light_and_dark(browser, report):
    paper = "return getComputedStyle(document.body).backgroundColor"
    light = browser.run(paper)
    click(browser, "#theme")
    dark = browser.run(paper)
    assert dark != light
    assert browser.run("return document.getElementById('theme').ariaPressed") == "true"
    browser.run("localStorage.clear()")
    browser.prefer("dark")
    browser.open(report)
    assert browser.run(paper) == dark


def test_text_stands_out_from_its_ground(browser):
    """At least 4.5 to 1 (WCAG AA) for what is read, in both themes."""
    script = """
    const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const light = (text) => {
      const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(channel);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
      const colour = getComputedStyle(element).backgroundColor;
      return /, 0\\)$/.test(colour) ? ground(element.parentElement) : colour;
    };
    const ratio = (element) => {
      const both = [light(getComputedStyle(element).color), light(ground(element))];
      return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    };
    return ['.remark', '.card strong', '.card dd > span', 'nav a', 'td', 'th small', '.chip',
      'button.sort', '.published td', 'figcaption', '.picker input:checked + span', 'header p']
      .flatMap((kind) => [...document.querySelectorAll(kind)].filter((e) => e.offsetParent)
        .slice(0, 4).map((element) => [kind, ratio(element)]))
      .filter(([, value]) => value < 4.5)"""
    for _ in range(2):
        assert browser.run(script) == []
        click(browser, "#theme")
    browser.run("localStorage.clear()")


@pytest.mark.parametrize("width", [1280, 390])
def test_every_point_of_a_plot_is_named_and_nothing_is_cut_off(browser, width, summary):
    browser.resize(width)
    drawings = browser.run("""
    return [...document.querySelectorAll('.answer:not([hidden]) .scatter')]
      .filter((drawing) => drawing.getBoundingClientRect().width)
      .map((drawing) => [...drawing.querySelectorAll('.point text')].map((name) => {
        const { left, right, width } = name.getBoundingClientRect();
        return [name.textContent, left >= 0 && right <= innerWidth && width > 0,
          parseFloat(getComputedStyle(name).fontSize) *
            drawing.getBoundingClientRect().width / drawing.viewBox.baseVal.width];
      }))""")
    assert len(drawings) == 2
    names = {mean.solver for mean in summary.ranking(summary.places[1])}
    for drawing in drawings:
        assert {name for name, _, _ in drawing} == names
        assert all(whole for _, whole, _ in drawing), drawing
        assert min(size for _, _, size in drawing) >= 10, "pixels"


def test_the_colour_switch_adds_colours_to_the_scored_luma(browser):
    pixel = """
    const shown = document.querySelectorAll('#crops canvas')[arguments[0]];
    const canvas = document.createElement('canvas');
    canvas.width = shown.width; canvas.height = shown.height;
    const context = canvas.getContext('2d', { willReadFrequently: true });
    context.drawImage(shown, 0, 0);
    return [...context.getImageData(0, 0, canvas.width, canvas.height).data];"""
    grey = np.reshape(browser.run(pixel, 1), (-1, 4)).astype(float)
    assert (grey[:, 0] == grey[:, 1]).all() and (grey[:, 1] == grey[:, 2]).all()
    captions = texts(browser, "#crops figcaption")
    before = browser.run("return document.getElementById('stage-image').src")
    click(browser, "#colour")
    browser.wait("document.getElementById('stage-image').src != " + json.dumps(before))
    colour = np.reshape(browser.run(pixel, 1), (-1, 4)).astype(float)
    assert np.ptp(colour[:, :3], axis=1).mean() > 5, "colours"
    luma = 16 + colour[:, :3] @ [65.481, 128.553, 24.966] / 255
    inside = ((colour[:, :3] > 0) & (colour[:, :3] < 255)).all(axis=1)
    assert np.abs(luma - grey[:, 0])[inside].max() < 1.0, "the luma is the scored one"
    assert texts(browser, "#crops figcaption") == captions, "and so are the figures"
    click(browser, "#colour")


@pytest.mark.slow
def test_a_table_is_copied_as_latex_rows_and_as_bibtex(browser):
    browser.run(
        "window.copied = []; Object.defineProperty(navigator, 'clipboard', { configurable: true,"
        "value: { writeText: async (text) => { window.copied.push(text); } } });"
    )
    for number in (1, 2):
        click(browser, f"#table1 .copies div:nth-child({number}) button")
        browser.wait(f"window.copied.length == {number}")
    rows, references = browser.run("return window.copied")
    assert rows.startswith("\\midrule\n") and "bicubic & " in rows and rows.endswith(" \\\\\n")
    assert references.startswith("@software{cscsr,") and "1908.01166" in references
    browser.wait("document.querySelector('#table1 .copy').textContent == 'Copied'")
    browser.wait("document.querySelector('#table1 .copy').textContent == 'Copy LaTeX rows'")


def test_the_page_prints_in_ink_on_white_without_what_needs_a_screen(browser):
    """In the dark theme, and however wide the tables are."""
    click(browser, "#theme")
    browser.command("Emulation.setEmulatedMedia", media="print")
    browser.resize(700)
    try:
        assert browser.run("return getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)"
        )
        for hidden in ("nav", "#look", ".copies", ".file", "#theme"):
            assert browser.run(
                "return document.querySelector(arguments[0]).offsetParent === null", hidden
            ), hidden
        assert browser.run("return document.documentElement.scrollWidth") <= 700
        printed = browser.command("Page.printToPDF", preferCSSPageSize=True)["data"]
        assert base64.b64decode(printed).startswith(b"%PDF")
    finally:
        browser.command("Emulation.setEmulatedMedia", media="")
        browser.run("localStorage.clear()")
