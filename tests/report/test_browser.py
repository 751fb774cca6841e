"""The report in a real headless browser: it renders, says nothing on the console, asks for nothing, fits a phone."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxinv.arm import Arm
from jaxinv.experiments.reports import write_report
from jaxinv.study import Study
from tests.builders import HOSTILE_ARMS, store_results, study_results
from tests.experiments.test_reports import replicated
from tests.report.test_report import render

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
FLAGS = [f"--{flag}" for flag in (*FLAGS.split(), "disable-component-update", "disable-sync", "hide-scrollbars")]
PATIENCE = 60.0  # seconds
NOISE = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


class Browser:
    """One page of a headless chromium, driven over its debugging pipe."""

    def __init__(self, profile: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        command = [str(CHROMIUM), *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        wired = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "browser", *command]
        self._process = subprocess.Popen(
            wired, pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer, self._count, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        pages = [t for t in self("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        self._session = self("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            got = self._read()
            if got.get("id") == self._count:
                assert "error" not in got, got
                return got["result"]
            self.events.append(got)

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            more = os.read(self._in, 1 << 20) if ready else b""
            assert more, "the browser does not answer"
            self._buffer += more
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, path: Path, width: int, *, dark: bool = False) -> None:
        """Show a file in a window of that many CSS pixels, all its pictures decoded."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())
        self.run("Promise.all([...document.images].map(image => image.decode().catch(() => 0)))")

    def run(self, code: str) -> Any:
        return self("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)["result"].get("value")

    @property
    def noise(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("method") in NOISE]

    @property
    def requests(self) -> list[str]:
        """What was asked for, but for what stands in the page itself."""
        asked = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [url for event in asked if not (url := event["params"]["request"]["url"]).startswith("data:")]

    def close(self) -> None:
        with contextlib.suppress(AssertionError, OSError):
            self._session = None
            self("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replicate")
    replicated(path)
    return write_report(path).parent


def test_what_a_page_must_not_do_is_seen(browser: Browser, tmp_path: Path):
    """The checks below can fail."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<meta name=viewport content='width=device-width'><p style='width:900px'>wide</p>"
        "<img src='http://127.0.0.1:9/x.png'><script>console.error('no')</script>"
    )
    browser.open(page, 390)
    assert len(browser.requests) == 2
    assert {event["method"] for event in browser.noise} == {"Runtime.consoleAPICalled", "Log.entryAdded"}
    assert browser.run("document.documentElement.scrollWidth") > 390
    assert browser.run("document.images[0].naturalWidth") == 0


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, False), (1280, True)])
def test_report_renders(browser: Browser, folder: Path, width: int, dark: bool):
    page = folder / "report.html"
    browser.open(page, width, dark=dark)
    assert browser.noise == []
    assert browser.requests == [page.as_uri()]
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.images.length") == 6
    assert browser.run("Math.min(...[...document.images].map(image => image.naturalWidth))") > 300
    assert browser.run("[...document.images].every(image => image.width <= innerWidth && image.alt.length > 60)")
    inside = "[...document.querySelectorAll('table')].every(table => table.parentElement.className == 'scroll')"
    assert browser.run(inside)
    sizes = (
        "[...document.querySelectorAll('p, td, th, li, figcaption')].map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(browser.run(sizes)) >= 12
    back = [int(x) for x in browser.run("getComputedStyle(document.body).backgroundColor")[4:-1].split(",")]
    ink = [int(x) for x in browser.run("getComputedStyle(document.body).color")[4:-1].split(",")]
    assert (sum(back) < sum(ink)) == dark
    assert abs(np.subtract(back, ink)).min() > 150
    verdict = browser.run("document.querySelector('.verdict').getBoundingClientRect().top")
    assert verdict < 500  # the verdict comes first, on the first screen


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1024, 1280])
def test_arms_of_every_kind_fit(browser: Browser, tmp_path: Path, width: int):
    names = (
        "normal",
        "inverted",
        Arm("adam with learning rates of its own", optimizer="adam", learning_rate=(0.01, 1e-4)),
    )
    study = Study(arms=(*names, Arm("x" * 60, label_noise=0.2)), learning_rate=(0.1, 0.5), trials=4)
    page = tmp_path / "arms.html"
    page.write_text(render(study_results(study)))
    browser.open(page, width)
    assert browser.noise == []
    assert browser.run("document.documentElement.scrollWidth") <= width
    column = "[...document.querySelectorAll('tbody th')].map(cell => cell.getBoundingClientRect().width)"
    assert max(browser.run(column)) <= width / 2
    lines = "[...document.querySelectorAll('th.long')].map(cell => cell.getBoundingClientRect().height)"
    assert min(browser.run(lines)) < 130  # its words are not one below the other


@pytest.mark.slow
def test_tables_are_sorted_by_a_click(browser: Browser, folder: Path):
    browser.open(folder / "report.html", 1280)
    table = "document.querySelector('table')"
    column = f"[...{table}.tBodies[0].rows].map(row => parseFloat(row.cells[1].textContent)).join()"
    for order in (1, -1):
        browser.run(f"{table}.tHead.rows[0].cells[1].querySelector('button').click()")
        values = [float(value) for value in browser.run(column).split(",")]
        assert len(values) > 1
        assert values == sorted(values, reverse=order < 0)
    assert browser.run(f"{table}.tHead.rows[0].cells[1].getAttribute('aria-sort')") == "descending"
    browser.run(f"{table}.tHead.rows[0].cells[0].querySelector('button').click()")
    names = browser.run(f"[...{table}.tBodies[0].rows].map(row => row.cells[0].textContent.trim()).join()")
    assert names.split(",") == sorted(names.split(","))
    assert browser.noise == []


def test_what_is_folded_is_printed(browser: Browser, folder: Path):
    browser.open(folder / "report.html", 1280)
    assert browser.run("document.querySelectorAll('details').length") > 0
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run("[...document.querySelectorAll('details')].every(one => one.open)")


def test_report_prints(browser: Browser, folder: Path):
    browser.open(folder / "report.html", 1280)
    assert base64.b64decode(browser("Page.printToPDF")["data"]).startswith(b"%PDF")


def test_hostile_names_run_nothing(browser: Browser, tmp_path: Path):
    study = Study(trials=4)
    results = study_results(study)
    fields = json.loads(results.attrs["study"]) | {
        "dataset": {"own": HOSTILE_ARMS[2]},
        "model": {"own": "<img src=x onerror=alert(1)>"},
    }
    evil = results.assign_attrs(study=json.dumps(fields), device=HOSTILE_ARMS[2])
    page = tmp_path / "evil.html"
    page.write_text(render(evil.assign_coords(arm=[HOSTILE_ARMS[2], HOSTILE_ARMS[4]])))
    browser.open(page, 390)
    assert browser.noise == []
    assert browser.requests == [page.as_uri()]
    assert browser.run("document.scripts.length") == 1  # the page's own
    assert HOSTILE_ARMS[2] in browser.run("document.querySelector('h1').textContent")
    assert browser.run("document.documentElement.scrollWidth") <= 390


def test_claims_fit_a_phone(browser: Browser, tmp_path: Path):
    study = Study(learning_rate=(0.1, 0.5), trials=3)
    store_results(tmp_path / "rates", study, study_results(study))
    text = "https://a.very.long.address.test/" + "q" * 80 + ", an answer"
    claim = {"name": "a-claim-with-a-long-name", "source": text, "statement": "S" * 90, "verdict": "refuted"}
    claim |= {"effect": -1e-15, "ci95": [-2e-15, 3.5], "n": 12_000, "explanation": "Because.", "unit": "u" * 60}
    (tmp_path / "claims.json").write_text(json.dumps({"claims": [claim] * 3}))
    page = write_report(tmp_path)
    browser.open(page, 390)
    assert browser.noise == []
    assert browser.requests == [page.as_uri()]
    assert browser.run("document.documentElement.scrollWidth") <= 390
    assert browser.run("document.images.length") == 1


@pytest.mark.slow
def test_link_to_the_values_leads_to_them(browser: Browser, tmp_path: Path):
    study = Study(trials=3)
    store_results(tmp_path, study, study_results(study))
    browser.open(write_report(tmp_path), 390)
    assert browser.run("document.querySelector('a.download').href") == (tmp_path / "report.csv").as_uri()
    assert (tmp_path / "report.csv").is_file()
