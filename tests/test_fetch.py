"""fetch: what is at hand is proved, what is not is fetched once, and each failure is one line."""

import builtins
import errno
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pooch
import pytest
import requests

from flowerlib import contents
from flowerlib import fetch as fetching
from flowerlib.errors import FlowerlibError
from flowerlib.fetch import available, cache_folder, checksum, fetch, fetch_dataset

REAL_MIRROR = os.environ.get("FLOWERLIB_MIRROR")
FILE = "oxford102/102flowers.tgz"
DATA = np.random.default_rng(0).bytes(3_000_000)  # several times what is read from the network at once
SHA256 = hashlib.sha256(DATA).hexdigest()
FETCH = f"from flowerlib.fetch import fetch; fetch({FILE!r})"


class Server(ThreadingHTTPServer):
    """A mirror on 127.0.0.1 that can misbehave, and remembers what was asked: (path, Range, bytes sent)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.files = {f"/{FILE}": DATA, "/SHA256SUMS": f"{SHA256}  {FILE}\n".encode()}
        self.ranges = True
        self.cut_at: int | None = None  # bytes of an answer after which the connection breaks
        self.pause_at: int | None = None  # bytes of an answer after which it waits for `go_on`
        self.go_on = threading.Event()
        self.status: dict[str, int] = {}
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str | None, int]] = []
        self.encodings_accepted: set[str | None] = set()

    def asked_for_file(self) -> list[tuple[str | None, int]]:
        return [(span, sent) for path, span, sent in self.asked if path == f"/{FILE}"]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server, span, body = self.server, self.headers["Range"], self.server.files.get(self.path)
        server.encodings_accepted.add(self.headers["Accept-Encoding"])
        status = server.status.get(self.path, 200 if body is not None else 404)
        body = body if body is not None and status == 200 else b""
        if span and server.ranges and status == 200:
            start = int(span.removeprefix("bytes=").removesuffix("-"))
            status, body = (206, body[start:]) if start < len(body) else (416, b"")
        is_file = self.path != "/SHA256SUMS"
        sent = body[: server.cut_at] if is_file else body
        server.asked.append((self.path, span, len(sent)))  # before the answer, or the next question may come first
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.send_body(sent, server.pause_at if is_file and server.pause_at is not None else len(sent))

    def send_body(self, sent: bytes, pause_at: int) -> None:
        server = self.server
        try:
            self.wfile.write(sent[:pause_at])
            self.wfile.flush()
            if pause_at < len(sent):
                server.go_on.wait(20)
            self.wfile.write(sent[pause_at:])
        except OSError:
            pass  # the other end has gone


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("FLOWERLIB_MIRROR", raising=False)
    monkeypatch.setenv("FLOWERLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "cache"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("FLOWERLIB_MIRROR", server.address)
        yield server
        server.go_on.set()
        server.shutdown()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mirror"
    (folder / FILE).parent.mkdir(parents=True)
    (folder / FILE).write_bytes(DATA)
    (folder / "SHA256SUMS").write_text(f"{SHA256}  {FILE}\n")
    monkeypatch.setenv("FLOWERLIB_MIRROR", str(folder))
    return folder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every request fails as it does on a machine without a network; the addresses asked for."""
    asked: list[str] = []

    def get(url: str, **_: object) -> requests.Response:
        asked.append(url)
        raise requests.ConnectionError("no route to host")

    monkeypatch.setattr(requests, "get", get)
    return asked


def failure(file: str = FILE) -> str:
    with pytest.raises(FlowerlibError) as caught:
        fetch(file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def left_in(cache: Path) -> set[str]:
    return {path.name.removeprefix(Path(FILE).name) for path in cache.rglob("*") if path.is_file()}


def refuse_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    def file_hash(*_: object, **__: object) -> str:
        raise AssertionError("hashed again")

    monkeypatch.setattr(pooch, "file_hash", file_hash)


# A folder as mirror


def test_a_folder_mirrors_file_is_used_in_place(folder: Path, cache: Path) -> None:
    assert fetch(FILE) == folder / FILE
    assert checksum(FILE) == SHA256
    assert left_in(cache) == {".lock", ".verified.json"}


def test_a_proved_file_is_not_hashed_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(FILE)
    refuse_hashing(monkeypatch)
    assert fetch(FILE) == folder / FILE
    assert checksum(FILE) == SHA256


def test_a_changed_mirror_file_is_noticed_and_left_where_it_is(folder: Path) -> None:
    fetch(FILE)
    (folder / FILE).write_bytes(b"other bytes")
    message = failure()
    assert str(folder / FILE) in message
    assert f"expected sha256:{SHA256}" in message
    assert hashlib.sha256(b"other bytes").hexdigest() in message
    assert "mend the mirror" in message
    assert (folder / FILE).read_bytes() == b"other bytes"


def test_a_changed_sha256sums_is_noticed(folder: Path) -> None:
    fetch(FILE)
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  {FILE}\n")
    assert "wrong checksum" in failure()


def test_a_broken_record_only_means_hashing_again(folder: Path, cache: Path) -> None:
    fetch(FILE)
    for text in ("{", "{}", ""):
        (cache / f"{FILE}.verified.json").write_text(text)
        assert checksum(FILE) == SHA256


@pytest.mark.parametrize(
    "line",
    [f"{SHA256} *{FILE}", f"{SHA256}  ./{FILE}", f"{SHA256.upper()}  {FILE}", f"{SHA256}  {FILE}\r"],
    ids=["binary", "from-here", "upper-case", "windows"],
)
def test_sha256sums_is_read_as_its_usual_writers_write_it(folder: Path, line: str) -> None:
    other = f"{'0' * 64}  other/{FILE}\n"
    (folder / "SHA256SUMS").write_text(f"{other}{line}\n{other}", newline="")
    assert checksum(FILE) == SHA256


def test_a_mirror_folder_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: list[str]
) -> None:
    monkeypatch.setenv("FLOWERLIB_MIRROR", str(tmp_path / "nowhere"))
    assert f"mirror folder {tmp_path / 'nowhere'} does not exist" in failure()
    assert available(FILE) == failure()
    assert no_network == []  # no silent way to the official address


def test_a_mirror_folder_without_sha256sums_is_refused(folder: Path, no_network: list[str]) -> None:
    (folder / "SHA256SUMS").unlink()
    assert failure().startswith(f"mirror {folder}: no readable SHA256SUMS")
    assert available(FILE) == failure()
    assert no_network == []


def test_a_file_not_named_in_sha256sums_is_refused(folder: Path, no_network: list[str]) -> None:
    (folder / "oxford102/setid.mat").write_bytes(b"never proved")
    message = failure("oxford102/setid.mat")
    assert message.startswith(f"mirror {folder}: oxford102/setid.mat is not named in SHA256SUMS")
    assert available("oxford102/setid.mat") == message
    assert no_network == []


def test_a_file_that_the_mirror_names_but_lacks_is_named(folder: Path, no_network: list[str]) -> None:
    (folder / FILE).unlink()
    assert failure().startswith(f"mirror {folder}: {FILE} is in SHA256SUMS but not in the folder")
    assert available(FILE) == failure()
    assert no_network == []


@pytest.mark.parametrize("mirror", ["ftp://example.org/flowers", "file:///srv/flowers", "s3://flowers"])
def test_a_mirror_is_a_folder_or_an_http_address(mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWERLIB_MIRROR", mirror)
    assert failure() == f"FLOWERLIB_MIRROR={mirror}: set it to a folder or an http(s) address"


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "oxford102/../../secret",
        "/etc/passwd",
        "C:/secret",
        "a\\..\\b",
        "~/x",
        ".",
        "",
        "a//b",
        "a\n",
    ],
)
def test_a_name_that_climbs_out_is_refused(name: str, folder: Path) -> None:
    (folder.parent / "secret").write_bytes(b"secret")
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(b'secret').hexdigest()}  {name}\n")
    assert f"{name!r} is not the name of a data file" in failure(name)
    assert available(name) == failure(name)


# An address as mirror


def test_a_second_fetch_does_not_touch_the_network(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch(FILE) == cache / FILE
    assert (cache / FILE).read_bytes() == DATA
    assert left_in(cache) == {"", ".lock", ".verified.json"}
    assert server.encodings_accepted == {"identity"}
    assert server.asked == [
        ("/SHA256SUMS", None, len(server.files["/SHA256SUMS"])),
        (f"/{FILE}", None, len(DATA)),
    ]
    refuse_hashing(monkeypatch)
    assert fetch(FILE) == cache / FILE
    assert checksum(FILE) == SHA256
    assert available(FILE) is None
    assert len(server.asked) == 2


def test_a_broken_connection_is_one_line_and_the_next_fetch_goes_on_from_there(server: Server, cache: Path) -> None:
    server.cut_at = len(DATA) // 2
    assert failure() == f"{server.address}/{FILE}: the connection broke; run again to go on"
    assert not (cache / FILE).exists()
    kept = (cache / f"{FILE}.part").stat().st_size
    assert len(DATA) // 3 < kept <= len(DATA) // 2
    server.cut_at = None
    assert fetch(FILE).read_bytes() == DATA
    assert server.asked_for_file() == [(None, len(DATA) // 2), (f"bytes={kept}-", len(DATA) - kept)]
    assert left_in(cache) == {"", ".lock", ".verified.json"}


def test_a_server_that_ignores_ranges_starts_again(server: Server, cache: Path) -> None:
    server.ranges, server.cut_at = False, len(DATA) // 2
    failure()
    server.cut_at = None
    assert fetch(FILE).read_bytes() == DATA
    assert [sent for _, sent in server.asked_for_file()] == [len(DATA) // 2, len(DATA)]


def test_a_whole_download_that_was_not_proved_yet_is_not_fetched_again(server: Server, cache: Path) -> None:
    (cache / FILE).parent.mkdir(parents=True)
    (cache / f"{FILE}.part").write_bytes(DATA)
    assert fetch(FILE).read_bytes() == DATA
    assert server.asked_for_file() == [(f"bytes={len(DATA)}-", 0)]


@pytest.mark.parametrize("length", [1000, len(DATA), len(DATA) + 1000])
def test_the_beginning_of_another_file_is_thrown_away(server: Server, cache: Path, length: int) -> None:
    (cache / FILE).parent.mkdir(parents=True)
    (cache / f"{FILE}.part").write_bytes(bytes(length))
    assert fetch(FILE).read_bytes() == DATA
    assert server.asked_for_file()[-1] == (None, len(DATA))


def test_wrong_bytes_are_removed_and_both_checksums_told(server: Server, cache: Path) -> None:
    server.files[f"/{FILE}"] = b"wrong" * 1000
    message = failure()
    found = hashlib.sha256(b"wrong" * 1000).hexdigest()
    assert f"{FILE}.part: wrong checksum, expected sha256:{SHA256}, found {found}; removed" in message
    assert left_in(cache) == {".lock"}
    assert len(server.asked_for_file()) == 1


def test_a_damaged_copy_in_the_cache_is_fetched_again(server: Server, cache: Path) -> None:
    fetch(FILE)
    (cache / FILE).write_bytes(DATA[:-1])
    assert available(FILE) is not None
    assert fetch(FILE).read_bytes() == DATA
    assert len(server.asked_for_file()) == 2


def test_a_copy_without_its_record_is_proved_and_not_downloaded(server: Server, cache: Path) -> None:
    fetch(FILE)
    (cache / f"{FILE}.verified.json").unlink()
    assert fetch(FILE) == cache / FILE
    assert len(server.asked_for_file()) == 1


def test_a_broken_record_of_a_download_only_means_proving_again(server: Server, cache: Path) -> None:
    fetch(FILE)
    (cache / f"{FILE}.verified.json").write_text(json.dumps({"source": server.address}))
    assert fetch(FILE) == cache / FILE
    assert len(server.asked_for_file()) == 1


def test_a_failed_replacement_leaves_the_copy_that_was_there(server: Server, cache: Path) -> None:
    (cache / FILE).parent.mkdir(parents=True)
    (cache / FILE).write_bytes(b"from another source")
    server.files[f"/{FILE}"] = b"wrong"
    failure()
    assert (cache / FILE).read_bytes() == b"from another source"


def test_an_archive_sent_as_encoded_is_not_unpacked_on_the_way(server: Server) -> None:
    packed = b"\x1f\x8b" + DATA  # the server of some official files calls a .tgz encoded
    server.files |= {
        f"/{FILE}": packed,
        "/SHA256SUMS": f"{hashlib.sha256(packed).hexdigest()}  {FILE}".encode(),
    }
    server.headers["Content-Encoding"] = "x-gzip"
    assert fetch(FILE).read_bytes() == packed


@pytest.mark.parametrize(("path", "status"), [(FILE, 404), ("SHA256SUMS", 404), (FILE, 503)])
def test_what_the_server_answers_is_told(server: Server, cache: Path, path: str, status: int) -> None:
    server.status[f"/{path}"] = status
    assert failure().startswith(f"{server.address}/{path}: the server answered {status}; ")
    assert left_in(cache) == {".lock"}


def test_a_page_in_place_of_sha256sums_is_no_checksum(server: Server) -> None:
    server.files["/SHA256SUMS"] = b"<html>please log in</html>"
    assert f"{FILE} is not named in SHA256SUMS" in failure()
    assert server.asked_for_file() == []


def test_a_server_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server() as gone:
        address = gone.address
    monkeypatch.setenv("FLOWERLIB_MIRROR", f"{address}/")
    assert failure().startswith(f"{address}/SHA256SUMS: no answer (ConnectionError); check the network")


@pytest.mark.parametrize("pause_at", [0, 1_000_000])
def test_a_server_that_falls_silent_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch, pause_at: int) -> None:
    monkeypatch.setattr(fetching, "_TIMEOUT_S", 0.3)
    server.pause_at = pause_at
    assert failure() == f"{server.address}/{FILE}: the connection broke; run again to go on"


def test_an_address_that_is_none_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for mirror in ("http://", "http://:80x/", "https://[bad"):
        monkeypatch.setenv("FLOWERLIB_MIRROR", mirror)
        assert "no answer (" in failure()


def test_a_full_disk_is_told_with_the_bytes_that_lack_and_the_download_goes_on(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 1_000_000

    class FullDisk(io.FileIO):
        def write(self, chunk: bytes, /) -> int:  # type: ignore[override]
            if self.tell() + len(chunk) > room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(chunk)

    def open_on_full_disk(path: Path, mode: str) -> io.FileIO:
        return FullDisk(path, mode)

    monkeypatch.setattr(fetching, "open", open_on_full_disk, raising=False)
    message = failure()
    kept = (cache / f"{FILE}.part").stat().st_size
    assert 0 < kept <= room
    folder = (cache / FILE).parent
    assert message == (
        f"no space left in {folder}: {len(DATA) - kept:,} more bytes are needed; free some and run again"
    )
    assert left_in(cache) == {".lock", ".part"}
    monkeypatch.setattr(fetching, "open", builtins.open)
    assert fetch(FILE).read_bytes() == DATA
    assert server.asked_for_file()[-1] == (f"bytes={kept}-", len(DATA) - kept)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_disk_that_takes_nothing_is_told(server: Server, cache: Path) -> None:
    (cache / FILE).parent.mkdir(parents=True)
    (cache / f"{FILE}.part").symlink_to("/dev/full")
    assert f"{len(DATA):,} more bytes are needed" in failure()
    assert not (cache / FILE).exists()


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    for cache in (tmp_path / "file", tmp_path / "file" / "cache"):
        monkeypatch.setenv("FLOWERLIB_CACHE", str(cache))
        assert failure().startswith(f"cannot write {cache} (")


# Several processes


def start_fetching(log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as stderr:
        return subprocess.Popen([sys.executable, "-c", FETCH], stderr=stderr)


def wait_until(condition: object, what: str) -> None:
    deadline = time.monotonic() + 15
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)


def test_two_processes_download_once_and_the_second_says_that_it_waits(
    server: Server, cache: Path, tmp_path: Path
) -> None:
    server.pause_at = 1_000_000  # until both are at it
    log = tmp_path / "stderr"
    both = [start_fetching(log), start_fetching(log)]
    waiting = f"{FILE}: another process is fetching it; waiting\n"
    wait_until(lambda: log.read_text() == waiting and server.asked_for_file(), "one fetching, one waiting")
    server.go_on.set()
    assert [process.wait(15) for process in both] == [0, 0]
    assert log.read_text() == waiting
    assert server.asked_for_file() == [(None, len(DATA))]
    assert len(server.asked) == 2  # SHA256SUMS once too
    assert (cache / FILE).read_bytes() == DATA
    assert left_in(cache) == {"", ".lock", ".verified.json"}


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_after_a_killed_fetch_the_next_one_is_not_locked_out_and_goes_on(
    server: Server, cache: Path, tmp_path: Path
) -> None:
    server.pause_at = 1_500_000
    process = start_fetching(tmp_path / "stderr")
    part = cache / f"{FILE}.part"
    wait_until(lambda: part.exists() and part.stat().st_size > 1_000_000, "half of the file")
    process.send_signal(signal.SIGKILL)
    process.wait(15)
    server.go_on.set()
    kept = part.stat().st_size
    assert fetch(FILE).read_bytes() == DATA
    assert server.asked_for_file()[1:] == [(f"bytes={kept}-", len(DATA) - kept)]


# The official addresses


@pytest.fixture
def official(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.delenv("FLOWERLIB_MIRROR")
    md5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    monkeypatch.setitem(fetching.OFFICIAL, FILE, (f"{server.address}/{FILE}", f"md5:{md5}"))
    return server


def test_without_a_mirror_the_official_checksum_decides(official: Server, cache: Path) -> None:
    assert fetch(FILE) == cache / FILE
    assert official.asked == [(f"/{FILE}", None, len(DATA))]  # no SHA256SUMS there
    assert checksum(FILE) == SHA256


def test_wrong_official_bytes_are_refused(official: Server, cache: Path) -> None:
    official.files[f"/{FILE}"] = b"re-packed"
    assert f"expected {fetching.OFFICIAL[FILE][1]}" in failure()
    assert left_in(cache) == {".lock"}


def test_a_mirrors_other_bytes_do_not_pass_for_the_official_ones(
    official: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as mirrored, Server() as mirror:
        threading.Thread(target=mirror.serve_forever, args=(0.01,), daemon=True).start()
        mirrored.setenv("FLOWERLIB_MIRROR", mirror.address)
        small = b"the photographs, re-encoded"
        mirror.files = {
            f"/{FILE}": small,
            "/SHA256SUMS": f"{hashlib.sha256(small).hexdigest()}  {FILE}".encode(),
        }
        assert fetch(FILE).read_bytes() == small
        mirror.shutdown()
    assert available(FILE) is not None
    assert fetch(FILE).read_bytes() == DATA


def test_without_a_network_the_official_address_is_named(no_network: list[str]) -> None:
    assert failure("oxford102/setid.mat").startswith("https://www.robots.ox.ac.uk/~vgg/data/flowers/102/setid.mat:")
    assert no_network == ["https://www.robots.ox.ac.uk/~vgg/data/flowers/102/setid.mat"]


def test_weights_have_no_official_address(no_network: list[str]) -> None:
    assert "weights/x.weights.h5 has no official address: set FLOWERLIB_MIRROR" in failure("weights/x.weights.h5")
    assert available("weights/x.weights.h5") == failure("weights/x.weights.h5")
    assert no_network == []


def test_every_file_of_a_data_set_has_an_official_address_and_checksum() -> None:
    files = {file for group in fetching.DATASETS.values() for file in group}
    assert files == {file for file in fetching.OFFICIAL if not file.startswith("weights/")}
    digits = {"md5": 32, "sha256": 64}
    for file, (url, expected) in fetching.OFFICIAL.items():
        algorithm, digest = expected.split(":")
        assert url.endswith(f"/{Path(file).name}")
        assert len(bytes.fromhex(digest)) * 2 == digits[algorithm]


# What is at hand


def test_looking_and_naming_checksums_use_no_network(no_network: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    reason = f"{FILE} not fetched: run `make data` or set FLOWERLIB_MIRROR"
    for mirror in ("", "http://127.0.0.1:9"):
        monkeypatch.setenv("FLOWERLIB_MIRROR", mirror)
        assert available(FILE) == reason
        with pytest.raises(FlowerlibError, match="not fetched"):
            checksum(FILE)
    assert no_network == []


def test_looking_into_a_folder_hashes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_hashing(monkeypatch)
    assert available(FILE) is None


def test_a_data_set_is_fetched_file_by_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "check", lambda name, files: None)  # these are no photographs
    names = ("oxford102/102flowers.tgz", "oxford102/imagelabels.mat", "oxford102/setid.mat")
    for name in names:
        (folder / name).write_bytes(DATA)
    (folder / "SHA256SUMS").write_text("".join(f"{SHA256}  {name}\n" for name in names))
    assert fetch_dataset("oxford102") == {name: folder / name for name in names}


def test_an_unknown_data_set_is_told_with_the_known_ones() -> None:
    with pytest.raises(FlowerlibError, match="unknown data set 'oxford17': choose one of oxford102, flowers5"):
        fetch_dataset("oxford17")


def test_the_cache_is_the_repositorys_unless_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWERLIB_CACHE")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(fetching, "__file__", str(tmp_path / "repository" / "flowerlib" / "fetch.py"))
    assert cache_folder() == tmp_path / "here" / "data" / "cache"  # installed: no repository around it
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "pyproject.toml").touch()
    assert cache_folder() == tmp_path / "repository" / "data" / "cache"
    assert cache_folder().is_dir()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "quiet", "shown"),
    [(Terminal(), False, True), (Terminal(), True, False), (io.StringIO(), False, False)],
)
def test_a_terminal_sees_the_time_left_and_nothing_else_does(
    server: Server, monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, quiet: bool, shown: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    fetch(FILE, quiet=quiet)
    assert ("102flowers.tgz: 100%" in stream.getvalue() and "<00:00" in stream.getvalue()) == shown
    assert bool(stream.getvalue()) == shown


def test_fetching_imports_no_tensorflow() -> None:
    code = "import sys, flowerlib.fetch; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.photographs
@pytest.mark.skipif(not REAL_MIRROR, reason="FLOWERLIB_MIRROR is not set")
@pytest.mark.parametrize("name", ["oxford102/setid.mat", "oxford102/imagelabels.mat"])
def test_the_mirrors_label_files_are_the_official_ones(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWERLIB_MIRROR", str(REAL_MIRROR))
    md5 = hashlib.md5(fetch(name, quiet=True).read_bytes(), usedforsecurity=False).hexdigest()
    assert f"md5:{md5}" == fetching.OFFICIAL[name][1]
