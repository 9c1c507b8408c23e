"""Notebooks in JupyterLab, in a real browser: Run All, and clicks in the one for exploring."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
import requests
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from test_report import Copy

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no browser: apt-get install chromium chromium-driver"),
]
IDLE = "//span[contains(text(), '| Idle')]"
GRADED = "01_classification.ipynb"
PATIENCE_S = 240  # a kernel imports TensorFlow and loads a network, on a busy machine


@pytest.fixture
def lab(whole: Copy, tmp_path: Path) -> Iterator[str]:
    """JupyterLab on copies of two notebooks, beside the networks that the smoke report has trained: its address."""
    for name in ("explore/explore.ipynb", GRADED):
        shutil.copy(whole.root / "notebooks" / name, tmp_path)
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
            yield f"{address}/lab/tree"
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


def run_all(browser: WebDriver, address: str) -> None:
    """Open a notebook and choose Run All Cells from its menu."""
    browser.get(address)
    click(browser, "//div[contains(@class, 'jp-Notebook-cell')]")  # without a cell in focus the menu is grey
    until(lambda: browser.find_element(By.XPATH, IDLE))
    click(browser, "//div[contains(@class, 'lm-MenuBar-itemLabel') and text()='Run']")
    click(browser, "//div[contains(@class, 'lm-Menu-itemLabel') and text()='Run All Cells']")


def test_run_all_of_a_graded_notebook_leaves_its_figures(lab: str, browser: WebDriver, tmp_path: Path) -> None:
    def saved() -> list[nbformat.NotebookNode]:
        """The code cells of what JupyterLab writes; the page itself holds those in view alone."""
        ActionChains(browser).key_down(Keys.CONTROL).send_keys("s").key_up(Keys.CONTROL).perform()
        time.sleep(2)
        written = nbformat.read(tmp_path / GRADED, as_version=4).cells
        return [cell for cell in written if cell.cell_type == "code"]

    assert not any(cell.get("outputs") for cell in nbformat.read(tmp_path / GRADED, as_version=4).cells)
    run_all(browser, f"{lab}/{GRADED}")
    until(lambda: all(cell.execution_count for cell in saved()) and browser.find_element(By.XPATH, IDLE))
    outputs = [output for cell in saved() for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 5


def test_a_click_on_another_photograph_changes_the_map(lab: str, browser: WebDriver) -> None:
    run_all(browser, f"{lab}/explore.ipynb")
    until(lambda: len(pictures(browser)) == 2 and browser.find_element(By.CSS_SELECTOR, ".explorer-photograph-3"))
    photograph, first_map = pictures(browser)
    browser.find_element(By.CSS_SELECTOR, ".explorer-photograph-3").click()
    until(lambda: pictures(browser)[0] != photograph and pictures(browser)[1] != first_map)
    second_map = pictures(browser)[1]
    click(browser, "//div[label[text()='method']]/select/option[text()='saliency']")
    until(lambda: pictures(browser)[1] != second_map)
    assert not browser.find_elements(By.CSS_SELECTOR, "[data-mime-type='application/vnd.jupyter.stderr'] .ansi-red-fg")
