"""What the tests share: where photographs may be found, and a cache of their own."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

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


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`-m "not photographs"` leaves out every test that uses the fixture; side by side, each fixture is made once.

    What uses the whole smoke report runs in one process, every other file in one of its own.
    """
    for item in items:
        used = set(getattr(item, "fixturenames", ()))
        if "photographs" in used:
            item.add_marker("photographs")
        item.add_marker(pytest.mark.xdist_group("whole" if used & {"whole", "broken"} else item.path.name))


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
