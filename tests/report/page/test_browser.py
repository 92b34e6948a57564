"""The page in a real browser, opened from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .browser import keep, messages, print_pdf, show
from .conftest import Seen

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement


@pytest.fixture
def opened(seen: Seen, driver: Chrome) -> Chrome:
    """The page, freshly loaded at the size of a laptop."""
    show(driver, 1280, 800)
    driver.get(seen.page.as_uri())
    return driver


def all_of(driver: Chrome, selector: str) -> list[WebElement]:
    return driver.find_elements("css selector", selector)


def one(driver: Chrome, selector: str) -> WebElement:
    return driver.find_element("css selector", selector)


def texts(driver: Chrome, selector: str) -> list[str]:
    """Return the texts, also of what is not in sight."""
    return [element.get_property("textContent").strip() for element in all_of(driver, selector)]


def methods(driver: Chrome, body: int = 1) -> list[str]:
    rows = all_of(driver, f".im-results tbody:nth-of-type({body}) tr[data-method]")
    return [str(row.get_dom_attribute("data-method")) for row in rows]


def test_it_asks_for_nothing_and_complains_of_nothing(seen: Seen, driver: Chrome) -> None:
    messages(driver)
    driver.get(seen.page.as_uri())
    said, asked = messages(driver)
    assert said == []
    assert asked == [seen.page.as_uri()]
    names = "return performance.getEntriesByType('resource').map((one) => one.name)"
    found = driver.execute_script(names)
    assert [name for name in found if not name.startswith("data:")] == []
    assert driver.title == "seen-equal"


def test_the_policy_stops_what_is_not_ours(opened: Chrome) -> None:
    """Otherwise the test above would say little."""
    opened.execute_script(
        """
        const script = document.createElement("script");
        script.textContent = "document.title = 'owned'";
        document.body.append(script);
        document.body.append(Object.assign(new Image(), {src: "file:///etc/hostname.png"}));
        document.body.insertAdjacentHTML("beforeend", "<p id=p style='color: red'>");
        """
    )
    assert opened.title == "seen-equal"
    colour = "return getComputedStyle(document.getElementById('p')).color"
    assert opened.execute_script(colour) != "rgb(255, 0, 0)"
    said, _ = messages(opened)
    assert sum("Content Security Policy" in line for line in said) >= 3


def test_markup_from_files_is_text(opened: Chrome) -> None:
    assert all_of(opened, "[onerror]") == []
    assert "<img src=x" in one(opened, ".lead").text
    assert "<script>alert(1)</script>" in one(opened, ".failure strong").text
    assert "fish <b>" in texts(opened, "table.heat thead button")
    assert any("GPU <b>" in text for text in texts(opened, "td.text"))


def test_a_click_sorts_the_best_first_and_holes_last(opened: Chrome) -> None:
    asked = methods(opened)
    assert asked == ["ldt", "unimatch", "unimatch+im", "u2pl", "u2pl+im", "me", "im"]
    name, isic, _, cells, rank = all_of(opened, ".im-results thead button")

    def values(column: int) -> list[float | None]:
        cells = all_of(opened, f".im-results tbody:nth-of-type(1) td:nth-child({column})")
        found = [cell.get_dom_attribute("data-value") for cell in cells]
        return [float(value) if value else None for value in found]

    isic.click()
    assert values(2) == sorted(values(2), reverse=True)
    assert methods(opened) != asked
    assert methods(opened, body=2) == ["fdt"]  # stays apart
    head = one(opened, ".im-results th[aria-sort]")
    assert head.get_dom_attribute("aria-sort") == "descending"
    isic.click()
    assert values(2) == sorted(values(2))

    cells.click()  # of errors the lowest is the best
    *known, planned = values(4)
    assert planned is None
    assert known == sorted(known)
    cells.click()
    assert values(4)[-1] is None
    assert [len(all_of(opened, "th[aria-sort]"))] == [1]

    rank.click()
    assert methods(opened)[0] == "me"
    assert values(5)[-2:] == [None, None]
    name.click()
    assert methods(opened)[0] == "im"  # "Inconsistency Masks" before "Labelled only"


def test_tables_are_sorted_by_the_keyboard(opened: Chrome) -> None:
    from selenium.webdriver import Keys

    all_of(opened, ".im-results thead button")[1].send_keys(Keys.ENTER)
    assert all_of(opened, ".im-results th[aria-sort]")


def test_the_gallery_is_browsed_by_lists_buttons_and_arrows(opened: Chrome) -> None:
    from selenium.webdriver import Keys
    from selenium.webdriver.support.select import Select

    def count() -> str:
        return one(opened, ".gallery output").text

    def images() -> list[str | None]:
        return [image.get_dom_attribute("src") for image in all_of(opened, ".panels img")]

    captions = ["image", "truth", "teacher 1", "teacher 2", "inconsistent"]
    captions += ["what a student sees", "consensus", "student"]
    assert texts(opened, ".panels figcaption") == captions
    assert count() == "1 of 3"
    first = images()
    assert len(set(first)) == len(captions)
    broken = "return [...document.querySelectorAll('.panels img')].some((i) => !i.naturalWidth)"
    assert opened.execute_script(broken) is False

    one(opened, ".gallery [name=next]").click()
    assert count() == "2 of 3"
    assert images() != first
    gallery = one(opened, ".gallery")
    gallery.send_keys(Keys.ARROW_LEFT)
    assert images() == first
    gallery.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert count() == "3 of 3"
    assert not one(opened, ".gallery [name=next]").is_enabled()

    before = one(opened, ".what").text
    gallery.send_keys(Keys.ARROW_DOWN)
    assert one(opened, ".what").text != before
    gallery.send_keys(Keys.ARROW_UP)
    assert one(opened, ".what").text == before

    Select(one(opened, ".gallery [name=data]")).select_by_visible_text("reef")
    Select(one(opened, ".gallery [name=method]")).select_by_visible_text("Inconsistency Masks (IM)")
    shows = Select(one(opened, ".gallery [name=shows]"))
    assert [option.text for option in shows.options] == [
        *(f"pseudo-labels, generation {g}" for g in (1, 2, 3)),
        *(f"validation, generation {g}" for g in (1, 2, 3)),
    ]
    shows.select_by_visible_text("validation, generation 2")
    assert texts(opened, ".panels figcaption") == ["image", "truth", "prediction"]
    assert "fish <b>" in one(opened, ".classes:not([hidden])").text
    assert messages(opened)[0] == []


def test_links_lead_to_sections(opened: Chrome) -> None:
    anchors = [link.get_dom_attribute("href") for link in all_of(opened, "nav a")]
    assert len(anchors) == 8
    for anchor in anchors:
        assert len(all_of(opened, anchor or "")) == 1
    all_of(opened, "nav a")[-1].click()
    assert opened.current_url.endswith("#seen-equal-cost")
    title = "return document.getElementById('seen-equal-cost-title').getBoundingClientRect().top"
    assert 0 <= opened.execute_script(title) < 800


def test_without_a_script_all_is_there_but_sorting_and_browsing(seen: Seen, driver: Chrome) -> None:
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        driver.get(seen.page.as_uri())
        assert len(all_of(driver, ".im-results tbody tr")) == 9
        assert len(all_of(driver, ".panels img")) == 8
        assert not one(driver, ".controls").is_displayed()
        assert "browsing them needs JavaScript" in one(driver, "#seen-equal-gallery-help").text
        assert all_of(driver, "thead button") == []
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_names_of_all_that_is_not_text(opened: Chrome) -> None:
    unnamed = """
    const named = (e) => e.closest("[aria-hidden]") || e.getAttribute("aria-label");
    return [...document.querySelectorAll("svg")].filter((e) => !named(e)).length
      + [...document.querySelectorAll("img")].filter((e) => !e.alt).length
      + [...document.querySelectorAll("table")].filter((t) =>
          [...t.querySelectorAll("th")].some((th) => !th.scope)).length
      + [...document.querySelectorAll("select, button")].filter((e) =>
          !(e.labels?.length || e.textContent.trim() || e.ariaLabel)).length;
    """
    assert opened.execute_script(unnamed) == 0
    ids = "const all = [...document.querySelectorAll('[id]')].map((e) => e.id);"
    assert opened.execute_script(ids + "return all.length - new Set(all).size") == 0


CONTRAST = """
const light = (text) => {
  const part = text.match(/[\\d.]+/g).map(Number).slice(0, 3).map((v) => v / 255);
  const [r, g, b] = part.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const of = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
const paper = light(getComputedStyle(document.body).backgroundColor);
const probe = document.querySelector(".caption");
const paint = (name) => {
  probe.style.color = `var(--${name})`;
  return of(light(getComputedStyle(probe).color), paper);
};
return arguments[0].map(paint);
"""


@pytest.mark.parametrize("dark", [False, True])
def test_contrast(seen: Seen, driver: Chrome, dark: bool) -> None:
    """WCAG 2.2 AA: 4.5 for text, 3 for the lines of charts."""
    show(driver, 1280, 800, dark)
    driver.get(seen.page.as_uri())
    texts_in = ["ink", "quiet", "accent", "failed", "running"]
    assert min(driver.execute_script(CONTRAST, texts_in)) >= 4.5
    lines = [*(f"c{i}" for i in range(8)), "grey"]
    assert min(driver.execute_script(CONTRAST, lines)) >= 3


@pytest.mark.parametrize(
    ("name", "width", "height", "dark"),
    [("light", 1280, 800, False), ("dark", 1280, 800, True), ("phone", 390, 844, False)],
)
def test_it_fits_any_screen(
    seen: Seen, driver: Chrome, name: str, width: int, height: int, dark: bool
) -> None:
    show(driver, width, height, dark)
    driver.get(seen.page.as_uri())
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    paper = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(21, 23, 26)") is dark
    keep(f"{name}.png", driver.get_screenshot_as_png())


DRAWN = """
const uses = [...document.querySelectorAll("figure.chart use, .legend use")];
const lines = [...document.querySelectorAll("#seen-equal-learning .chart g path")];
return {
  strokes: [...new Set(lines.map((line) => getComputedStyle(line).stroke))],
  grid: [...document.querySelectorAll(".chart svg > path")].map((p) => getComputedStyle(p).stroke),
  font: getComputedStyle(document.querySelector(".chart text")).fontFamily,
  empty: uses.filter((use) => !use.getBBox().width && !use.getBBox().height).length,
  fills: [...new Set(uses.map((use) => getComputedStyle(use).fill))],
};
"""


@pytest.mark.parametrize(
    ("dark", "line", "grid", "paper"),
    [
        (False, "rgb(0, 114, 178)", "rgb(232, 229, 221)", "rgb(252, 251, 248)"),
        (True, "rgb(88, 174, 240)", "rgb(42, 46, 51)", "rgb(21, 23, 26)"),
    ],
)
def test_charts_follow_the_scheme_and_the_fonts(
    seen: Seen, driver: Chrome, dark: bool, line: str, grid: str, paper: str
) -> None:
    show(driver, 1280, 800, dark)
    driver.get(seen.page.as_uri())
    drawn = driver.execute_script(DRAWN)
    assert line in drawn["strokes"]  # --c0
    assert grid in drawn["grid"]
    assert {line, paper} <= set(drawn["fills"])  # full dots, and open ones
    assert "system-ui" in drawn["font"]
    assert drawn["empty"] == 0  # all markers are found
    assert messages(driver)[0] == []


def test_it_prints_in_light_with_its_details_open(seen: Seen, driver: Chrome) -> None:
    show(driver, 1280, 800, dark=True)
    driver.get(seen.page.as_uri())
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    paper = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    shown = driver.execute_script(
        "return document.querySelector('#seen-equal-generations details table').checkVisibility()"
        " && !document.querySelector('nav').checkVisibility()"
    )
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert paper == "rgb(255, 255, 255)"
    assert shown
    printed = print_pdf(driver)
    assert printed.startswith(b"%PDF")
    keep("print.pdf", printed)
