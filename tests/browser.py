"""A headless browser for tests of pages, if this machine has one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def chromium(*, dark: bool = False) -> Iterator[Any]:
    """A Selenium driver, 1200 x 800, that records its console and its network. Skips the test without a browser."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="the test of the page needs selenium")
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("the test of the page needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--window-size=1200,800", "--hide-scrollbars", "--disable-gpu"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # which is not available to root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        made.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        yield made
    finally:
        made.quit()


def complaints(driver: Any) -> list[str]:
    """Returns what was written to the console since the last call."""
    return [entry["message"] for entry in driver.get_log("browser")]


def requests(driver: Any, page: Path) -> list[str]:
    """Returns the network requests, except for the page itself and its embedded content."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [url for url in asked if url != page.as_uri() and not url.startswith(("data:", "chrome:"))]
