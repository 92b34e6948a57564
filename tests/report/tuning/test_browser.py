"""The page of a study in a real browser, opened from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from im_bench.report.page.shell import write_page
from im_bench.report.tuning.findings import findings
from im_bench.report.tuning.page import make_page
from im_bench.tuning.storage import StudyStorage

from ..page.browser import keep, messages, show
from .studies import labelled, spread, trained

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

STUDIES = {"trained": trained, "labels": labelled, "many": lambda storage: spread(storage, 60)}


@pytest.mark.parametrize("name", STUDIES)
def test_it_opens_without_network_and_fits(
    name: str, storage: StudyStorage, tmp_path: Path, driver: Chrome
) -> None:
    page = write_page(tmp_path, make_page(findings(STUDIES[name](storage), storage.name)))
    for width in (1280, 390):
        for dark in (False, True):
            show(driver, width, 2400, dark)
            messages(driver)
            driver.get(page.as_uri())
            assert driver.execute_script("return document.documentElement.scrollWidth") <= width
            picture = driver.get_screenshot_as_png()
            assert messages(driver) == ([], [page.as_uri()])
            keep(f"study-{name}-{width}-{'dark' if dark else 'light'}.png", picture)
    assert driver.title == name


OUTSIDE = """
return [...document.querySelectorAll("figure.chart svg")].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll("text")].map((text) => text.getBoundingClientRect());
  const out = texts.filter((t) => t.left < frame.left - 1 || t.right > frame.right + 1);
  const over = texts.flatMap((a, i) => texts.slice(i + 1).filter((b) =>
    a.left < b.right && b.left < a.right && a.top < b.bottom - 1 && b.top < a.bottom - 1));
  return [...out, ...over];
}).length;
"""


@pytest.mark.parametrize("name", STUDIES)
def test_labels_lie_within_their_chart_and_apart(
    name: str, storage: StudyStorage, tmp_path: Path, driver: Chrome
) -> None:
    page = write_page(tmp_path, make_page(findings(STUDIES[name](storage), storage.name)))
    show(driver, 390, 9000)
    driver.get(page.as_uri())
    assert driver.execute_script(OUTSIDE) == 0


def test_the_table_of_trials_is_sorted_by_a_click(
    storage: StudyStorage, tmp_path: Path, driver: Chrome
) -> None:
    page = write_page(tmp_path, make_page(findings(trained(storage), storage.name)))
    driver.get(page.as_uri())
    heads = driver.find_elements("css selector", "#trials thead button")
    next(head for head in heads if head.text == "IoU").click()
    first, *_ = driver.find_elements("css selector", "#trials tbody tr")
    assert first.text.split()[:3] == ["3", "complete", "0.6250"]
