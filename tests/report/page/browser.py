"""A real browser without a network: Debian's chromium, driven by its chromium-driver."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def missing() -> str:
    """Return what is missing for a browser, or an empty string."""
    wanted = ("chromium", "chromedriver")
    return ", ".join(name for name in wanted if shutil.which(name) is None)


@contextmanager
def browser(profile: Path) -> Iterator[Chrome]:
    """Start a browser with an empty profile, which logs everything that it says and asks for."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # Without a path selenium would look for a driver on the network.
    service = webdriver.ChromeService(str(shutil.which("chromedriver")))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.get("about:blank")  # instead of a first tab, which has requests of its own
        yield driver
    finally:
        driver.quit()


def show(driver: Chrome, width: int, height: int, dark: bool = False) -> None:
    """Set size and colour scheme."""
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    features = {
        "prefers-color-scheme": "dark" if dark else "light",
        "prefers-reduced-motion": "reduce",  # a test need not wait for smooth scrolling
    }
    wanted = [{"name": name, "value": value} for name, value in features.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})


def print_pdf(driver: Chrome) -> bytes:
    """Return the page as it is printed."""
    printed = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    return base64.b64decode(printed["data"])


def keep(name: str, content: bytes) -> None:
    """Keep a picture for people to look at, where IM_BENCH_SCREENSHOTS names a folder."""
    if folder := os.environ.get("IM_BENCH_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / name).write_bytes(content)


def milliseconds(driver: Chrome) -> dict[str, float]:
    """Return when the page was loaded, and when it was first drawn, since it was asked for."""
    timing: dict[str, Any] = driver.execute_async_script(
        """
        const done = arguments[arguments.length - 1];
        requestAnimationFrame(() => requestAnimationFrame(() => {
          const [page] = performance.getEntriesByType("navigation");
          const paint = performance.getEntriesByName("first-contentful-paint")[0];
          done({loaded: page.loadEventEnd, painted: paint ? paint.startTime : NaN,
                settled: performance.now()});
        }));
        """
    )
    return timing


def messages(driver: Chrome) -> tuple[list[str], list[str]]:
    """Return what the browser complained of, and the addresses that it asked for, since the last
    call. Data URIs are no requests, and pages of the browser's own are not ours."""
    said = [entry["message"] for entry in driver.get_log("browser")]
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    return said, [url for url in asked if not url.startswith(("data:", "chrome:"))]
