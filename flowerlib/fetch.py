"""Fetch the data files and prove them by their checksums (decoding is for `data`).

`FLOWERLIB_MIRROR` unset: the official addresses. A folder (its files are used in place) or an http(s)
address: proved by its `SHA256SUMS`; a mirror that fails never falls back to the official addresses.
In the cache, beside a file: `.part` (a download to go on with), `.lock`, `.verified.json` (what was proved).
"""

import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

import filelock
import pooch
import requests
import urllib3
from tqdm import tqdm

from flowerlib import contents
from flowerlib.errors import FlowerlibError

_OXFORD = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102"
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_SUMS = "SHA256SUMS"
_TIMEOUT_S = 30
LEAST_FREE = 500_000_000  # bytes; the photographs at 96 px take 226 MB, a training up to 60

# md5: as published with the data set, or as keras.applications lists its weights (it lists none for MobileNetV2, so
# that a download could not be proved). sha256: as TensorFlow Datasets lists this archive.
OFFICIAL: dict[str, tuple[str, str]] = {
    "oxford102/102flowers.tgz": (f"{_OXFORD}/102flowers.tgz", "md5:52808999861908f626f3c1f4e79d11fa"),
    "oxford102/imagelabels.mat": (f"{_OXFORD}/imagelabels.mat", "md5:e0620be6f572b9609742df49c70aed4d"),
    "oxford102/setid.mat": (f"{_OXFORD}/setid.mat", "md5:a5357ecc9cb78c4bef273ce3793fc85c"),
    "flowers5/flower_photos.tgz": (
        "http://download.tensorflow.org/example_images/flower_photos.tgz",
        "sha256:4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c",
    ),
    "weights/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5": (
        f"{_KERAS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "md5:6d6bbae143d832006294945121d1f1fc",
    ),
    "weights/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5": (
        f"{_KERAS}/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "md5:253f8cb515780f3b799900260a226db6",
    ),
    "weights/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5": (
        f"{_KERAS}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "md5:4d473c1dd8becc155b73f8504c6f6626",
    ),
    "weights/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5": (
        f"{_KERAS}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "md5:bcbd6486424b2319ff4ef7d526e38f63",
    ),
}

DATASETS: dict[str, tuple[str, ...]] = {
    "oxford102": ("oxford102/102flowers.tgz", "oxford102/imagelabels.mat", "oxford102/setid.mat"),
    "flowers5": ("flowers5/flower_photos.tgz",),
}


class _Source(NamedTuple):
    """Where `FLOWERLIB_MIRROR` says that one file comes from."""

    name: str  # "official", the mirror's folder or its address
    path: Path  # the local copy
    url: str | None  # None: in a folder mirror, used in place
    expected: str | None  # "md5:…" or "sha256:…"; None: in an http mirror's SHA256SUMS, not read yet


def cache_folder() -> Path:
    """The folder for downloads and caches, made if missing: `FLOWERLIB_CACHE`, else the repository's own."""
    repository = Path(__file__).resolve().parents[1]
    root = repository if (repository / "pyproject.toml").is_file() else Path.cwd()
    folder = Path(os.environ.get("FLOWERLIB_CACHE") or root / "data" / "cache").expanduser().absolute()
    with _plain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    if free < LEAST_FREE:  # a full disk kills a process that writes through a memory map, without a word
        raise FlowerlibError(
            f"no space left: {folder} has {free / 1e6:.0f} MB free, {LEAST_FREE / 1e6:.0f} MB are needed:"
            " free some, or set FLOWERLIB_CACHE to another disk"
        )
    return folder


def fetch(file: str, *, quiet: bool = False) -> Path:
    """The verified local copy of a data file (in a folder mirror: that very file), downloaded if need be.

    Args:
        file: a name in the mirror's layout, such as "oxford102/setid.mat".
        quiet: no progress bar (there is none without a terminal).

    Raises: FlowerlibError in one line: no such mirror or file, no network, wrong checksum, no space left.
    """
    source = _source(file)
    _verified(file, source, quiet)
    return source.path


def fetch_dataset(name: str, *, quiet: bool = False) -> dict[str, Path]:
    """Fetch the files of a data set in `DATASETS`: file -> verified local copy, its contents looked at once.

    Raises: FlowerlibError for an unknown data set, for contents that are not what they should be, or as `fetch`.
    """
    if name not in DATASETS:
        raise FlowerlibError(f"unknown data set {name!r}: choose one of {', '.join(DATASETS)}")
    files = {file: fetch(file, quiet=quiet) for file in DATASETS[name]}
    seen, known = cache_folder() / f"{name}.contents", "\n".join(checksum(file) for file in DATASETS[name])
    if not seen.exists() or seen.read_text(encoding="utf-8") != known:
        contents.check(name, files)
        with _plain_disk_errors(cache_folder()):
            seen.write_text(known, encoding="utf-8")
    return files


def checksum(file: str) -> str:
    """The sha256 (64 hex digits) of the verified local file; remembered; never uses the network.

    Raises: FlowerlibError when the file is not at hand (see `available`) or its checksum is wrong.
    """
    if reason := available(file):
        raise FlowerlibError(reason)
    return _verified(file, _source(file), quiet=True)


def available(file: str) -> str | None:
    """None when `fetch` needs no network, else the reason in one line; hashes nothing."""
    try:
        source = _source(file)
    except FlowerlibError as error:
        return str(error)
    if source.url is None or _remembered(file, source):
        return None
    return f"{file} not fetched: run `make data` or set FLOWERLIB_MIRROR"


def _source(file: str) -> _Source:
    if not re.fullmatch(r"\w[\w.+-]*(/\w[\w.+-]*)*", file, re.ASCII):
        raise FlowerlibError(f"{file!r} is not the name of a data file: use one like oxford102/setid.mat")
    mirror = os.environ.get("FLOWERLIB_MIRROR", "").strip()
    if re.match(r"https?://", mirror):
        mirror = mirror.rstrip("/")
        return _Source(mirror, cache_folder() / file, f"{mirror}/{file}", None)
    if "://" in mirror:
        raise FlowerlibError(f"FLOWERLIB_MIRROR={mirror}: set it to a folder or an http(s) address")
    if mirror:
        return _in_folder(Path(mirror).expanduser().absolute(), file)
    if file not in OFFICIAL:
        raise FlowerlibError(f"{file} has no official address: set FLOWERLIB_MIRROR to a mirror of it")
    return _Source("official", cache_folder() / file, *OFFICIAL[file])


def _in_folder(folder: Path, file: str) -> _Source:
    if not folder.is_dir():
        raise FlowerlibError(f"mirror folder {folder} does not exist: correct FLOWERLIB_MIRROR or unset it")
    try:
        sums = (folder / _SUMS).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise FlowerlibError(f"mirror {folder}: no readable {_SUMS} ({error.strerror}); add it") from None
    source = _Source(str(folder), folder / file, None, _expected(sums, str(folder), file))
    if not source.path.is_file():
        raise FlowerlibError(f"mirror {folder}: {file} is in {_SUMS} but not in the folder; put it there")
    return source


def _expected(sums: str, mirror: str, file: str) -> str:
    """What SHA256SUMS says of a file, as "sha256:<hex>"."""
    line = re.search(rf"^([0-9a-fA-F]{{64}}) [ *](\./)?{re.escape(file)}\s*$", sums, re.MULTILINE)
    if line is None:
        raise FlowerlibError(f"mirror {mirror}: {file} is not named in {_SUMS}; use a mirror that holds it")
    return f"sha256:{line[1].lower()}"


def _verified(file: str, source: _Source, quiet: bool) -> str:
    """Make sure of the local copy; its sha256."""
    if sha256 := _remembered(file, source):
        return sha256
    with _lock(file):  # look again: another process may have fetched it meanwhile
        return _remembered(file, source) or _make_local(file, source, quiet)


def _make_local(file: str, source: _Source, quiet: bool) -> str:
    expected = source.expected
    if expected is None:
        with _request(f"{source.name}/{_SUMS}") as response:
            expected = _expected(b"".join(_body(response)).decode(errors="replace"), source.name, file)
    # A copy from another source, or one without its record, will do if its bytes are the expected ones.
    if source.url and not _is_proved(source.path, expected):
        _download(source.url, expected, source.path, quiet)
    stamp = _stamp(source.path)  # before the hash: a change meanwhile shows at the next look
    sha256 = _prove(source.path, expected, "mend the mirror")
    record = {"source": source.name, "expected": expected, "stamp": stamp, "sha256": sha256}
    with _plain_disk_errors(cache_folder()):  # not atomic: a broken record only means another look
        (cache_folder() / f"{file}.verified.json").write_text(json.dumps(record), encoding="utf-8")
    return sha256


def _remembered(file: str, source: _Source) -> str | None:
    """The sha256 of an earlier proof, if source, expected checksum and file are still those."""
    try:
        record = json.loads((cache_folder() / f"{file}.verified.json").read_text(encoding="utf-8"))
        expected = source.expected or record["expected"]
        now = {"source": source.name, "expected": expected, "stamp": _stamp(source.path)}
    except (OSError, ValueError, KeyError):  # none yet, or broken
        return None
    return record["sha256"] if {**record, **now} == record else None


def _stamp(path: Path) -> list[int]:
    return [path.stat().st_size, path.stat().st_mtime_ns]


def _prove(path: Path, expected: str, remedy: str) -> str:
    """The sha256 of a file that has the expected checksum; FlowerlibError for one that has not."""
    algorithm, digest = expected.split(":")
    try:
        found = pooch.file_hash(path, alg=algorithm)
        sha256 = found if algorithm == "sha256" else pooch.file_hash(path, alg="sha256")
    except OSError as error:
        raise FlowerlibError(f"cannot read {path} ({error.strerror}); {remedy}") from None
    if found != digest:
        raise FlowerlibError(f"{path}: wrong checksum, expected {expected}, found {found}; {remedy}")
    return sha256


def _is_proved(path: Path, expected: str) -> bool:
    try:
        return bool(_prove(path, expected, ""))
    except FlowerlibError:
        return False


def _download(url: str, expected: str, target: Path, quiet: bool) -> None:
    """Bring `url` to `target`, which only ever appears whole and proved."""
    part = target.with_name(f"{target.name}.part")
    if _stream(url, part, quiet) and not _is_proved(part, expected):
        part.unlink()  # the kept beginning was of other bytes: once more, from the start
        _stream(url, part, quiet)
    try:
        _prove(part, expected, f"removed; run again; if that does not help, {url} holds other bytes")
    except FlowerlibError:
        part.unlink(missing_ok=True)
        raise
    with _plain_disk_errors(target.parent):
        os.replace(part, target)


def _stream(url: str, part: Path, quiet: bool) -> bool:
    """Write to `part` what it lacks of `url`; True when an earlier beginning was kept."""
    start = part.stat().st_size if part.exists() else 0
    with _request(url, start) as response:
        if response.status_code == 416:  # nothing lies beyond what is there
            return True
        kept = response.status_code == 206
        start = start if kept else 0  # a server that ignores Range sends all of it
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        bar = tqdm(initial=start, total=total, desc=part.stem, unit="B", unit_scale=1, disable=quiet or None)
        with bar, _plain_disk_errors(part.parent, part, total), open(part, "ab" if kept else "wb") as out:
            for chunk in _body(response):
                out.write(chunk)
                bar.update(len(chunk))
    return kept


def _request(url: str, start: int = 0) -> requests.Response:
    """GET from byte `start` on; each way of getting no answer becomes one line."""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S)
    except (requests.RequestException, ValueError) as error:  # ValueError: an address that is none
        kind = type(error).__name__
        raise FlowerlibError(f"{url}: no answer ({kind}); check the network or FLOWERLIB_MIRROR") from None
    if response.ok or (start and response.status_code == 416):
        return response
    response.close()
    status = response.status_code
    raise FlowerlibError(f"{url}: the server answered {status}; try later or another FLOWERLIB_MIRROR")


def _body(response: requests.Response) -> Iterator[bytes]:
    try:  # undecoded: some servers say "Content-Encoding: x-gzip" of a .tgz, which would come unpacked
        yield from response.raw.stream(1 << 18, decode_content=False)
    except (urllib3.exceptions.HTTPError, OSError):
        raise FlowerlibError(f"{response.url}: the connection broke; run again to go on") from None


def _lock(file: str) -> AbstractContextManager[object]:
    path = cache_folder() / f"{file}.lock"
    with _plain_disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path)
        try:
            return lock.acquire(timeout=0)
        except filelock.Timeout:
            print(f"{file}: another process is fetching it; waiting", file=sys.stderr)
            return lock.acquire()


@contextmanager
def _plain_disk_errors(folder: Path, part: Path | None = None, total: int | None = None) -> Iterator[None]:
    """Say in one line why a folder cannot be written; a `.part` stays, so that the download can go on."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise FlowerlibError(f"cannot write {folder} ({error.strerror}); set FLOWERLIB_CACHE") from None
        needed = f"{total - part.stat().st_size:,} more bytes are" if part and total else "more space is"
        raise FlowerlibError(f"no space left in {folder}: {needed} needed; free some and run again") from None
