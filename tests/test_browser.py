"""The notebook for exploring in JupyterLab, in a real browser: Run All, then clicks."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from test_report import Copy

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no browser: apt-get install chromium chromium-driver"),
]
PATIENCE_S = 240  # a kernel imports TensorFlow and loads a network, on a busy machine


@pytest.fixture
def lab(whole: Copy, tmp_path: Path) -> Iterator[str]:
    """JupyterLab on a copy of the notebook, beside the networks that the smoke report has trained: its address."""
    shutil.copy(whole.root / "notebooks" / "explore" / "explore.ipynb", tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={tmp_path}"]
    settings = {name: str(tmp_path / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    environment = (
        whole.environment | settings | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    )
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            until(lambda: requests.get(f"{address}/api", timeout=5).ok)
            yield f"{address}/lab/tree/explore.ipynb"
        finally:
            server.terminate()


@pytest.fixture
def browser() -> Iterator[WebDriver]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1800"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def until(is_true: Callable[[], object]) -> None:
    """Wait until something holds; what the page does not have yet is no error."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if is_true():
                return
        except (WebDriverException, requests.RequestException):
            pass
        time.sleep(0.5)
    pytest.fail(f"not within {PATIENCE_S} s")


def click(browser: WebDriver, path: str) -> None:
    def clicked() -> bool:
        browser.find_element(By.XPATH, path).click()
        return True

    until(clicked)


def pictures(browser: WebDriver) -> list[str]:
    """What the large pictures show: the photograph, and its map."""
    return [each.screenshot_as_base64 for each in browser.find_elements(By.CSS_SELECTOR, "img.widget-image")[:2]]


def test_a_click_on_another_photograph_changes_the_map(lab: str, browser: WebDriver) -> None:
    browser.get(lab)
    click(browser, "//div[contains(@class, 'jp-Notebook-cell')]")  # without a cell in focus the menu is grey
    until(lambda: browser.find_element(By.XPATH, "//span[contains(text(), '| Idle')]"))
    click(browser, "//div[contains(@class, 'lm-MenuBar-itemLabel') and text()='Run']")
    click(browser, "//div[contains(@class, 'lm-Menu-itemLabel') and text()='Run All Cells']")
    until(lambda: len(pictures(browser)) == 2 and browser.find_element(By.CSS_SELECTOR, ".explorer-photograph-3"))
    photograph, first_map = pictures(browser)
    browser.find_element(By.CSS_SELECTOR, ".explorer-photograph-3").click()
    until(lambda: pictures(browser)[0] != photograph and pictures(browser)[1] != first_map)
    second_map = pictures(browser)[1]
    click(browser, "//div[label[text()='method']]/select/option[text()='saliency']")
    until(lambda: pictures(browser)[1] != second_map)
    assert not browser.find_elements(By.CSS_SELECTOR, "[data-mime-type='application/vnd.jupyter.stderr'] .ansi-red-fg")
