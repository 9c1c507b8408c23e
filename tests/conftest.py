"""What the tests share: where photographs may be found, and a cache of their own."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from test_report import Copy

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow is imported: no notes about the CPU

# As .ci/run does it: a folder mirror/ beside this checkout or one level further in. Set but empty means none.
if "FLOWERLIB_MIRROR" not in os.environ:
    beside = Path(__file__).resolve().parents[2]
    for sums in sorted([*beside.glob("mirror/SHA256SUMS"), *beside.glob("*/mirror/SHA256SUMS")])[:1]:
        os.environ["FLOWERLIB_MIRROR"] = str(sums.parent)

# A busy machine is no reason to fail.
hypothesis.settings.register_profile("flowerlib", deadline=None)
hypothesis.settings.load_profile("flowerlib")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`-m "not photographs"` leaves out every test that uses the fixture."""
    for item in items:
        if "photographs" in getattr(item, "fixturenames", ()):
            item.add_marker("photographs")


@pytest.hookimpl(optionalhook=True)  # xdist asks, when tests run side by side
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """A file's tests stay in one process, and so do all files that share the smoke report, which is made once."""

    class BySharedFixture(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0].rsplit("/")[-1]
            return "whole" if file in ("test_browser.py", "test_gallery.py", "test_report.py") else file

    return BySharedFixture(config, log)


@pytest.fixture(scope="session")
def photographs() -> str:
    """The folder or address of a mirror of the photographs; without one the test is skipped."""
    mirror = os.environ.get("FLOWERLIB_MIRROR", "").strip()
    if not mirror:
        pytest.skip("no photographs: set FLOWERLIB_MIRROR to a mirror of them")
    return mirror


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder that only this test uses."""
    monkeypatch.setenv("FLOWERLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> "Copy":
    """A copy of the bundle in which the smoke report was made once; tests leave it as it was."""
    from test_report import whole_report

    return whole_report(tmp_path_factory.mktemp("whole"))
