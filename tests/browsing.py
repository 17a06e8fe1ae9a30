"""A browser for the page's tests: Chromium without a network, which notes what a page asks for and what goes wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from regard.inside.page import page
from regard.inside.result import Look

HOSTILE = (  # what a page must show and never run
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "javascript:alert(1)",
    "{{7*7}}",
    "a\u2028b",
    "\u202eabc\u2066",
    "\x00\x1b",
)
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser; a test without one is skipped and says what is missing."""
    tools = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install regard[dev]")
    if not CHROMIUM:
        pytest.skip("no Chromium on PATH; CHROMIUM may name one")
    with tools.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A tab with a page in it, and what happened: requests beside the file itself, dialogs, errors."""

    def __init__(self, browser: Any, file: Path, link: str = "", **settings: Any) -> None:
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self.errors: list[str] = []
        options = {"viewport": {"width": 1280, "height": 900}, "accept_downloads": True, **settings}
        self.context = browser.new_context(**options)
        self.context.set_offline(True)
        self.tab = self.context.new_page()
        self.tab.on("request", lambda request: self._ask(request.url, file.as_uri()))
        self.tab.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on("console", self._note)
        self.tab.goto(f"{file.as_uri()}{link}")

    def _ask(self, url: str, own: str) -> None:
        if not url.startswith(own):
            self.requests.append(url)

    def _note(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(message.text)

    def check(self) -> None:
        """Nothing was asked for, nothing spoke up, nothing failed."""
        found = {"requests": self.requests, "dialogs": self.dialogs, "errors": self.errors}
        assert not any(found.values()), found

    def close(self) -> None:
        self.check()
        self.context.close()


def written(folder: Path, *looks: Look, name: str = "look.html") -> Path:
    """The page of looks as a file."""
    file = folder / name
    file.write_text(page(looks), encoding="utf-8")
    return file
