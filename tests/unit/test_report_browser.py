"""`rlkd report` in a real headless Chromium: nothing that a model wrote runs, and keys work."""

import base64
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlkd_plugin.rlkd_eval.report.report import write_report
from tests.support.chromium import Chromium, find_chromium
from tests.support.report_folders import (
    branched_line,
    comparison,
    diversity,
    evaluation,
    grpo_run,
    scored,
    structured_run,
    trace_line,
    write_lines,
)

# each sets `window.ran`, opens a dialog or asks a server, if it runs in any way
PAYLOADS = (
    "<script>window.ran = 1; alert(1)</script>",
    "</script><script>window.ran = 1</script>",
    "<!--<script>",
    "<img src=x onerror='window.ran = 1'>",
    "<img src=http://127.0.0.1:9/x>",
    "<svg onload=window.ran=1>",
    "<iframe srcdoc='<script>parent.ran = 1</script>'></iframe>",
    "<a href='javascript:window.ran=1'>x</a>",
    "<style>@import 'http://127.0.0.1:9/x.css'</style>",
    "<link rel=stylesheet href=http://127.0.0.1:9/x.css>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "\"'><script>window.ran = 1</script>",
    "\\u003cscript>window.ran = 1\\u003c/script>",
    "${window.ran = 1} {{window.ran = 1}} $data $scripts",
    "\u2028window.ran = 1\u2029//",
    "<details open ontoggle=window.ran=1>",
    "%{customdata} <b onmouseover=window.ran=1>x</b>",
    "constructor __proto__ <x is=y>",
    "]]><![CDATA[<script>window.ran=1</script>",
    "&lt;script&gt;window.ran=1&lt;/script&gt; \u202eoverride",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium: none on PATH, and the variable CHROMIUM names none")
    with Chromium(program) as chromium:
        yield chromium


def report(folder: Path, *folders: Path) -> Path:
    return write_report(folders, folder / "report.html")[0]


def complaints(browser: Chromium) -> list[object]:
    """What went wrong in the page: errors, refusals of the policy, dialogs, requests."""
    loud = ("Log.entryAdded", "Runtime.exceptionThrown", "Page.javascriptDialogOpening")
    found: list[object] = [e for e in browser.events if e["method"] in loud]
    for event in browser.events:
        if event["method"] == "Network.requestWillBeSent":
            url = event["params"]["request"]["url"]
            if not url.startswith(("file:", "data:", "blob:")):
                found.append(url)
    return found


def hostile_runs(folder: Path) -> list[Path]:
    """Write a run of 1,000 completions, results and a folder name, hostile in every text."""
    rows = []
    for number in range(1000):
        payload = PAYLOADS[number % len(PAYLOADS)]
        make = branched_line if number % 4 == 1 else trace_line
        row = make(number // 10, lambda text, payload=payload: f"{payload} {text}")
        row["student"] |= {"steps": [], "reply": payload} if number % 3 == 0 else {}
        row["problem"] = row["verdicts"][0]["source"] = row["teacher"]["status"] = payload
        rows.append(row)
    run = grpo_run(folder / "run <img src=x onerror=window.ran=1>", steps=100)
    write_lines(run / "rlkd_trace_rank0.jsonl", rows)
    label = "".join(PAYLOADS[:4])
    return [
        run,
        evaluation(folder / "eval", label, 5),
        diversity(folder / "diversity", label),
        comparison(folder / "study", label, lambda text: f"{label} {text}"),
    ]


def test_a_page_with_1000_hostile_texts_runs_none(tmp_path: Path, browser: Chromium) -> None:
    browser.open(report(tmp_path, *hostile_runs(tmp_path)))
    # every completion is shown, one after the other, as a reader would by the arrow key
    shown = browser.evaluate("""(async () => {
        const view = document.getElementById("view");
        const seen = new Set();
        for (let i = 0; i < 1100; i += 1) {
            seen.add(document.getElementById("where").textContent);
            view.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
            for (const more of document.querySelectorAll("button.all")) more.click();
            for (const branch of document.querySelectorAll(".branches button")) branch.click();
        }
        for (const chart of document.querySelectorAll(".chart")) {
            Plotly.Fx.hover(chart, [{curveNumber: 0, pointNumber: 0}]);
        }
        await new Promise((later) => setTimeout(later, 500));
        return seen.size;
    })()""")
    assert shown == 1000
    assert browser.evaluate("window.ran") is None
    assert complaints(browser) == []
    # what was written is there as text, and made no element
    assert browser.evaluate("document.getElementById('pairs').innerText").count("override") > 5
    made = "main img, main iframe, main a[href^='javascript'], main link, main meta, main script"
    assert browser.evaluate(f'document.querySelectorAll("{made}").length') == 0


def test_a_script_that_gets_into_the_page_is_refused(tmp_path: Path, browser: Chromium) -> None:
    # the second wall: even markup that slipped through would not run
    page = report(tmp_path, grpo_run(tmp_path / "run"))
    slipped = "<img src=x onerror='window.ran = 1'><script>window.ran = 1</script></main>"
    page.write_text(page.read_text("utf-8").replace("</main>", slipped), "utf-8")
    browser.open(page)
    assert browser.evaluate("window.ran") is None
    assert any("Content Security Policy" in str(complaint) for complaint in complaints(browser))


def test_all_charts_are_drawn_without_a_complaint(tmp_path: Path, browser: Chromium) -> None:
    folders = [
        grpo_run(tmp_path / "a", 40),
        grpo_run(tmp_path / "b", 40, seed=1),
        structured_run(tmp_path / "c"),
        diversity(tmp_path / "d", "D"),
        evaluation(tmp_path / "e", "E", 10),
        evaluation(tmp_path / "f", "E", 20),
        comparison(tmp_path / "g", "G"),
        scored(tmp_path / "h", [0.5, 1.0, 2.0]),
        scored(tmp_path / "i", [1.5, 1.0, 2.0]),
    ]
    browser.open(report(tmp_path, *folders))
    assert complaints(browser) == []
    charts = browser.evaluate("document.querySelectorAll('.chart').length")
    assert charts == browser.evaluate(f"{DRAWN}.length")
    # one button makes a picture, none sends the chart anywhere
    titles = "[...document.querySelectorAll('.modebar-btn')].map((b) => b.dataset.title)"
    assert "Share chart..." not in browser.evaluate(titles)
    assert browser.evaluate(titles).count("Download plot as a PNG") == charts


def test_a_chart_is_saved_as_png_by_keyboard(tmp_path: Path, browser: Chromium) -> None:
    page = report(tmp_path, grpo_run(tmp_path / "run"))
    browser.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.open(page)
    browser.evaluate("document.querySelector('button.png').focus()")
    browser.press("Enter", 13)
    saved = "document.getElementById('saved').textContent"
    browser.wait(f"{saved} !== ''")
    assert browser.evaluate(saved) == "Saved run-accuracy.png"
    picture = base64.b64decode(
        browser.evaluate("pngOf('run-accuracy').then((url) => url.split(',')[1])")
    )
    assert picture.startswith(b"\x89PNG")
    assert struct.unpack(">II", picture[16:24]) == (2000, 1120)  # 1000 x 560, at twice the scale
    assert complaints(browser) == []


def test_arrow_keys_go_through_completions(tmp_path: Path, browser: Chromium) -> None:
    browser.open(report(tmp_path, grpo_run(tmp_path / "run", steps=2)))
    where = "document.getElementById('where').textContent"
    browser.evaluate("document.getElementById('view').focus()")
    browser.press("ArrowRight", 39)
    assert browser.evaluate(where).startswith("Step 1 (1 of 2), completion 2 of 8")
    for _ in range(7):
        browser.press("ArrowRight", 39)
    assert browser.evaluate(where).startswith("Step 2 (2 of 2), completion 1 of 8")
    browser.press("ArrowLeft", 37)
    assert browser.evaluate(where).startswith("Step 1 (1 of 2), completion 8 of 8")


def test_branches_are_chosen_by_keyboard(tmp_path: Path, browser: Chromium) -> None:
    """The winner is shown first; the keys go on from a button that goes with its completion."""
    run = tmp_path / "run"
    write_lines(run / "rlkd_trace_rank0.jsonl", [branched_line(), trace_line(), branched_line()])
    browser.open(report(tmp_path, run))
    names = "[...document.querySelectorAll('.branches button')].map((b) => b.innerText)"
    assert browser.evaluate(names) == [
        "★ Branch 2\nwon with 0.5",
        "Branch 1\nearned 0",
        "Branch 3\ndropped: at most 0.5",
        "Branch 4\nno structure",
    ]
    pressed = "document.querySelector('.branches [aria-pressed=true] strong').textContent"
    shown = "document.getElementById('comparison').innerText"
    assert browser.evaluate(pressed) == "★ Branch 2"
    assert "Count what is given, 1" in browser.evaluate(shown)
    browser.evaluate("document.querySelector('.branches button').focus()")
    browser.press("Tab", 9)
    browser.press("Tab", 9)
    browser.press("Enter", 13)
    assert browser.evaluate(pressed) == "Branch 3"
    assert browser.evaluate(f"document.activeElement.contains({pressed.split('.text')[0]})")
    said = browser.evaluate(shown)
    assert "it could earn at most 0.5, the winner has 0.5." in said
    assert "not known, between 0.25 and 0.5" in said and "Draw box 1" in said
    assert "This branch was dropped here" in said and "no verdict" in said
    browser.press("ArrowRight", 39)
    assert browser.evaluate("document.querySelector('.branches')") is None
    assert "Why the comparison ended" in browser.evaluate(
        "document.querySelector('#pairs > .callout').innerText"
    )
    browser.press("ArrowRight", 39)
    assert browser.evaluate(pressed) == "★ Branch 2"
    assert complaints(browser) == []


def test_a_phone_sees_no_sideways_scrolling(tmp_path: Path, browser: Chromium) -> None:
    long = "a" * 5000
    run = grpo_run(tmp_path / ("long" * 40), say=lambda text: f"{long} {text}")
    study = comparison(tmp_path / "s", long, lambda text: f"{long} {text}")
    scores = scored(tmp_path / ("long" * 60), [1.0], judge=long), scored(tmp_path / "b", [2.0])
    page = report(tmp_path, run, evaluation(tmp_path / "e", long), study, *scores)
    browser.open(page, width=390)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390


def test_charts_follow_the_dark_scheme(tmp_path: Path, browser: Chromium) -> None:
    browser.open(report(tmp_path, grpo_run(tmp_path / "run")))
    back = "document.querySelector('.chart')._fullLayout.paper_bgcolor"
    light = browser.evaluate(back)
    browser.scheme(dark=True)
    browser.wait(f"{back} !== '{light}'")
    colour = "document.querySelector('.chart').data[0].line.color"
    browser.wait(f"{colour} === '#56B4E9'")
    browser.scheme(dark=False)


def test_the_chart_of_scores_has_room_on_a_phone_and_follows_the_scheme(
    tmp_path: Path, browser: Chromium
) -> None:
    scores = [scored(tmp_path / f"{'long' * 10}{i}", [0.5, 1.0, i]) for i in range(1, 4)]
    browser.open(report(tmp_path, *scores), width=390)
    chart = "document.getElementById('chart-scores-reward')"
    assert browser.evaluate(f"{chart}._fullLayout._size.w") > 150
    light, dark = "#0072B2", "#56B4E9"
    for colour in (light, dark):
        browser.scheme(dark=colour == dark)
        browser.wait(f"{chart}.data[0].error_x.color === '{colour}'")
    browser.scheme(dark=False)


DRAWN = "[...document.querySelectorAll('.chart')].filter((c) => c.querySelector('.trace'))"


@pytest.mark.parametrize("dark", [False, True])
def test_a_page_that_is_printed_as_soon_as_it_is_loaded_has_all_charts(
    tmp_path: Path, browser: Chromium, dark: bool
) -> None:
    """As `chromium --print-to-pdf` and a hasty reader do, long before all charts are drawn."""
    folders = [grpo_run(tmp_path / "a", 300), structured_run(tmp_path / "c")]
    page = report(tmp_path, *folders, evaluation(tmp_path / "e", "E", 10))
    # the listener is called before the page's own, which goes back to the screen
    noted = "{drawn: %s.length, printed: true, paper: [...document.querySelectorAll('.chart')]"
    noted += ".every((c) => c._fullLayout?.paper_bgcolor === '#ffffff')}"
    listener = f'addEventListener("afterprint", () => {{ window.seen = {noted % DRAWN}; }});'
    added = browser.send("Page.addScriptToEvaluateOnNewDocument", source=listener)
    try:
        browser.scheme(dark)
        browser.events.clear()
        browser.send("Page.navigate", url=page.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in browser.events):
            browser.send("Page.getFrameTree")  # takes up what the page tells
        browser.send("Page.printToPDF")
        browser.wait("window.seen")
        charts = browser.evaluate("document.querySelectorAll('.chart').length")
        assert charts > 10
        expected = {"drawn": charts, "printed": True, "paper": True}
        assert browser.evaluate("window.seen") == expected
        assert complaints(browser) == []
        if dark:  # the screen's charts are dark, also those that were drawn for the paper
            browser.wait(f"{DRAWN}.every((c) => c._fullLayout.paper_bgcolor !== '#ffffff')")
    finally:
        browser.send("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])
        browser.scheme(dark=False)


def test_paper_cuts_nothing_off(tmp_path: Path, browser: Chromium) -> None:
    """Charts fit their cards, tables do not scroll, long texts and open numbers are whole."""
    whole = "word " * 400 + "the end"
    run = grpo_run(tmp_path / "run", 300, say=lambda text: f"{text} {whole}")
    many = [evaluation(tmp_path / f"e{n}", f"{n} of some models {'y' * 60}") for n in range(4)]
    study = comparison(tmp_path / "study", "a study")
    browser.open(report(tmp_path, run, *many, study), dark=True)
    browser.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    said = "document.getElementById('pairs').innerText"
    on_screen = browser.evaluate(said)
    assert "the end" not in on_screen
    size = {"width": 700, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.send("Emulation.setEmulatedMedia", media="print")
    browser.send("Emulation.setDeviceMetricsOverride", **size)  # after the charts were drawn
    browser.wait("document.documentElement.classList.contains('printing')")
    assert browser.evaluate(said).count("the end") >= 10
    clipped = """[...document.querySelectorAll("main *")].filter((e) => {
        const style = getComputedStyle(e);
        return e.clientWidth && !e.closest("svg, .chart, .unseen") && style.overflow !== "visible"
            && (e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight);
    }).map((e) => e.outerHTML.slice(0, 200))"""
    assert browser.evaluate(clipped) == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= 700
    outside = """[...document.querySelectorAll(".chart")].filter((c) => {
        const card = c.closest("figure").getBoundingClientRect();
        const picture = c.querySelector(".main-svg").getBoundingClientRect();
        return picture.left < card.left || picture.right > card.right || picture.width < 500
            || picture.bottom > card.bottom;
    }).map((c) => c.id)"""
    assert browser.evaluate(outside) == []
    hidden = "[...document.querySelectorAll('details .scroll')].filter((e) => !e.clientHeight)"
    assert browser.evaluate(f"{hidden}.length") == 0
    back = "document.querySelector('.chart')._fullLayout.paper_bgcolor"
    assert browser.evaluate(back) == "#ffffff"
    ink = "getComputedStyle(document.body).color"
    assert browser.evaluate(ink) == "rgb(27, 31, 36)"
    browser.send("Emulation.setEmulatedMedia", media="screen")
    browser.scheme(dark=True)
    browser.wait(f"{back} === '#1b2128'")
    assert browser.evaluate(said) == on_screen
    browser.scheme(dark=False)


def test_a_page_that_is_opened_as_print_is_whole(tmp_path: Path, browser: Chromium) -> None:
    whole = "word " * 400 + "the end"
    page = report(tmp_path, grpo_run(tmp_path / "run", say=lambda text: f"{text} {whole}"))
    browser.send("Emulation.setEmulatedMedia", media="print")
    try:
        browser.send("Page.navigate", url=page.resolve().as_uri())
        browser.wait("document.body && document.body.dataset.drawn === 'all'")
        said = "document.getElementById('pairs').innerText"
        browser.wait(f"document.getElementById('pairs') && {said}.includes('the end')")
        charts = browser.evaluate("document.querySelectorAll('.chart').length")
        assert browser.evaluate(f"{DRAWN}.length") == charts
    finally:
        browser.send("Emulation.setEmulatedMedia", media="")


def test_every_control_has_a_name_and_a_visible_focus(tmp_path: Path, browser: Chromium) -> None:
    browser.open(report(tmp_path, grpo_run(tmp_path / "run")))
    nameless = browser.evaluate("""[...document.querySelectorAll("button, select, a")].filter((e) =>
        !(e.textContent.trim() || e.getAttribute("aria-label") || (e.labels || []).length)
    ).map((e) => e.outerHTML)""")
    assert nameless == []
    browser.evaluate("document.activeElement.blur()")
    browser.press("Tab", 9)
    focused = "getComputedStyle(document.activeElement).outlineStyle"
    assert browser.evaluate("document.activeElement.className") == "skip"
    assert browser.evaluate(focused) == "solid"
