"""The data sets: decoded once, whole or not there; what is wrong with an archive or its labels is one line.

The mirror is made here: an archive of nine pictures, each of one colour that tells its image id.
"""

import errno
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from flowerlib import contents, data, splits
from flowerlib.errors import FlowerlibError

ARCHIVE, LABELS, SETS = "oxford102/102flowers.tgz", "oxford102/imagelabels.mat", "oxford102/setid.mat"
COUNT = 9
KINDS = np.array([5, 1, 1, 102, 40, 2, 2, 7, 5])
FIVE = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
ID_SETS = {"trnid": [9, 2, 4], "valid": [1, 7], "tstid": [3, 5, 6, 8]}


def colour(image_id):
    return (25 * image_id, 240 - 20 * image_id, 60 + 9 * image_id)


def encoded(picture, form="JPEG", **options):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, form, **options)
    return file.getvalue()


def photograph(image_id, width=40, height=32):
    return encoded(np.full((height, width, 3), colour(image_id), dtype=np.uint8), quality=95)


def member(image_id):
    return f"jpg/image_{image_id:05d}.jpg"


def write_archive(path, files):
    """Pairs of name and content into a .tgz, in their order, as the official archive has them under jpg/."""
    with tarfile.open(path, "w:gz") as tar:
        folder = tarfile.TarInfo("jpg/")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def sign(folder):
    """Write SHA256SUMS for what the folder holds now."""
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}" for name in (ARCHIVE, LABELS, SETS)]
    (folder / "SHA256SUMS").write_text("\n".join(lines) + "\n")


def shuffled(**replaced):
    """The nine photographs out of order, with some contents replaced: ``shuffled(image_00003=b"...")``."""
    order = np.random.default_rng(0).permutation(COUNT) + 1
    return [(member(i), replaced.get(Path(member(i)).stem, photograph(i))) for i in order.tolist()]


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A whole mirror in a folder; tests spoil it, and sign it again so that its checksums do not tell."""
    folder = tmp_path / "mirror"
    (folder / "oxford102").mkdir(parents=True)
    write_archive(folder / ARCHIVE, shuffled())
    scipy.io.savemat(folder / LABELS, {"labels": KINDS[None].astype(np.uint8)})
    scipy.io.savemat(folder / SETS, {name: np.array([ids], dtype=np.uint16) for name, ids in ID_SETS.items()})
    sign(folder)
    monkeypatch.setenv("FLOWERLIB_MIRROR", str(folder))
    return folder


def spoil(mirror, change):
    """Put an archive of 40 kB of noisy photographs in place, changed; the checksums are those of the changed one."""
    pictures = np.random.default_rng(2).integers(0, 256, (COUNT, 50, 50, 3), dtype=np.uint8)
    write_archive(mirror / ARCHIVE, [(member(i), encoded(picture)) for i, picture in enumerate(pictures, start=1)])
    (mirror / ARCHIVE).write_bytes(change((mirror / ARCHIVE).read_bytes()))
    sign(mirror)


def load(size_px=16, resize="antialiased", name="oxford102"):
    return data.load(name, size_px, resize, quiet=True)


def refusal(*arguments):
    with pytest.raises(FlowerlibError) as caught:
        load(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def arrays(cache):
    """What lies in the cache's arrays folder, locks apart."""
    return sorted(path.name for path in (cache / "arrays").glob("*") if path.suffix != ".lock")


def refuse_decoding(monkeypatch):
    def decode(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(data, "decode", decode)


# Decoded once, and for good


def test_a_photograph_stands_at_its_id_minus_one_whatever_the_archives_order(mirror, cache):
    dataset = load()
    assert dataset.images.shape == (COUNT, 16, 16, 3)
    for image_id, image in enumerate(dataset.images, start=1):
        assert np.abs(image.astype(int) - colour(image_id)).max() <= 3, image_id


def test_labels_and_id_sets_are_the_files_own(mirror, cache):
    dataset = load()
    np.testing.assert_array_equal(dataset.fine, KINDS - 1)
    assert {name: ids.tolist() for name, ids in dataset.sets.items()} == ID_SETS
    split = splits.make("official", "fine", dataset.fine, dataset.sets)
    assert split.train.indices.tolist() == [1, 3, 8] and split.train.labels.tolist() == [0, 101, 4]


def test_the_array_is_a_read_only_memory_map_of_bytes(mirror, cache):
    images = load().images
    assert isinstance(images, np.memmap) and images.dtype == np.uint8
    assert Path(images.filename).parent == cache / "arrays"
    with pytest.raises(ValueError, match="read-only"):
        images[0, 0, 0, 0] = 1


def test_a_second_call_decodes_nothing(mirror, cache, monkeypatch):
    first = load().images
    refuse_decoding(monkeypatch)
    np.testing.assert_array_equal(load().images, first)


def test_each_size_and_resizing_has_its_own_array(mirror, cache):
    shapes = {(size, resize): load(size, resize).images.shape for size in (16, 20) for resize in data.RESIZINGS}
    assert len(arrays(cache)) == 6
    assert all(shape == (COUNT, size, size, 3) for (size, _), shape in shapes.items())


def test_another_archive_is_decoded_anew(mirror, cache):
    load()
    write_archive(mirror / ARCHIVE, shuffled(image_00004=photograph(8)))
    sign(mirror)
    assert np.abs(load().images[3].astype(int) - colour(8)).max() <= 3


def test_what_a_killed_preparation_left_is_not_taken_for_the_array(mirror, cache):
    whole = np.array(load().images)
    path = cache / "arrays" / arrays(cache)[0]
    content = path.read_bytes()
    path.unlink()
    path.with_suffix(".part.npy").write_bytes(content[: len(content) // 2])
    np.testing.assert_array_equal(load().images, whole)
    assert arrays(cache) == [path.name]


def test_two_that_ask_at_once_decode_once(mirror, cache, monkeypatch):
    decoded, real = [], data.decode

    def decode(file, name, size_px, resize):
        decoded.append(name)
        return real(file, name, size_px, resize)

    monkeypatch.setattr(data, "decode", decode)
    both = [threading.Thread(target=load) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(300)
    assert len(decoded) == COUNT and len(arrays(cache)) == 1


def test_files_beside_the_photographs_are_passed_over(mirror, cache):
    write_archive(mirror / ARCHIVE, [("jpg/README.txt", b"no photograph"), *shuffled(), ("LICENSE", b"none")])
    sign(mirror)
    assert load().images.shape[0] == COUNT


def test_the_five_classes_are_ordered_by_class_and_have_no_id_sets(cache, tmp_path, monkeypatch):
    members = [f"flower_photos/{name}/{i}.jpg" for name in FIVE for i in range(2)]
    (tmp_path / "mirror/flowers5").mkdir(parents=True)
    archive = tmp_path / "mirror/flowers5/flower_photos.tgz"
    files = [(name, photograph(i)) for i, name in enumerate(members)]
    write_archive(archive, [*files[::-1], ("flower_photos/tulips/not_listed.jpg", photograph(1))])
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (tmp_path / "mirror/SHA256SUMS").write_text(f"{digest}  flowers5/flower_photos.tgz\n")
    monkeypatch.setenv("FLOWERLIB_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setattr(data, "_five_members", lambda: members)
    monkeypatch.setattr(contents, "five_members", lambda: members)
    dataset = load(16, "squashed", "flowers5")
    assert dataset.fine.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4] and dataset.sets is None
    assert [round(int(image[0, 0, 0]) / 25) for image in dataset.images] == list(range(10))


def test_the_list_of_the_five_classes_is_in_label_order():
    folders = [name.split("/")[1] for name in data._five_members()]
    assert folders == list(np.repeat(FIVE, 200))


# Resizing


def decode(picture, size_px, resize, form="PNG"):
    return data.decode(io.BytesIO(encoded(picture, form)), "a picture", size_px, resize)


def noise(height, width):
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(50, 70), (71, 48), (33, 33), (12, 20)])
def test_nearest_equals_pillows_nearest_of_the_centre_square(height, width):
    picture, side = noise(height, width), min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(picture[top : top + side, left : left + side])
    expected = np.asarray(square.resize((24, 24), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(decode(picture, 24, "nearest"), expected)


def test_nearest_takes_the_pixel_at_each_centre():
    picture = noise(32, 48)
    np.testing.assert_array_equal(decode(picture, 8, "nearest"), picture[2::4, 8 + 2 : 40 : 4])


@pytest.mark.parametrize("resize", data.RESIZINGS)
def test_a_picture_of_one_colour_stays_of_it(resize):
    picture = np.full((45, 77, 3), (200, 7, 99), dtype=np.uint8)
    assert (decode(picture, 16, resize) == (200, 7, 99)).all()


def test_antialiasing_turns_fine_stripes_grey_and_nearest_does_not():
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    smooth = decode(stripes, 16, "antialiased")[:, 1:-1]
    assert np.abs(smooth.astype(int) - 127.5).max() < 12
    assert set(np.unique(decode(stripes, 16, "nearest"))) <= {0, 255}


def test_squashed_keeps_the_whole_width_and_the_others_its_middle():
    picture = np.zeros((30, 90, 3), dtype=np.uint8)
    picture[:, :30], picture[:, 30:60], picture[:, 60:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    squashed = decode(picture, 24, "squashed")
    np.testing.assert_array_equal(squashed, np.repeat(picture[:24, 1::30], 8, axis=1))
    assert (decode(picture, 24, "nearest") == (0, 255, 0)).all()
    assert (decode(picture, 24, "antialiased")[:, 1:-1] == (0, 255, 0)).all()


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA"])
def test_pictures_that_are_not_rgb_become_rgb(mode):
    file = io.BytesIO()
    Image.new("RGB", (20, 20), (90, 90, 90)).convert(mode, palette=Image.Palette.ADAPTIVE).save(file, "TIFF")
    file.seek(0)
    image = data.decode(file, "a picture", 16, "antialiased")
    assert image.shape == (16, 16, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - 90).max() <= 1


# What is wrong is one line, and leaves nothing half-written


def test_an_unknown_resizing_is_refused_with_those_there_are(mirror, cache):
    message = refusal(16, "bicubic")
    assert "'bicubic'" in message and all(name in message for name in data.RESIZINGS)


def test_an_unknown_data_set_is_refused(mirror, cache):
    assert "'oxford103'" in refusal(16, "nearest", "oxford103")


def test_photographs_that_are_not_there_are_never_drawn(cache, tmp_path, monkeypatch):
    def draw(*_):
        raise AssertionError("drew flowers where photographs were asked for")

    monkeypatch.setattr(data.synthetic, "draw", draw)
    monkeypatch.setenv("FLOWERLIB_MIRROR", str(tmp_path / "nowhere"))
    for name in ("oxford102", "flowers5"):
        assert str(tmp_path / "nowhere") in refusal(16, "antialiased", name)
    assert arrays(cache) == []


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.9])
def test_a_truncated_archive_is_told(mirror, cache, share):
    spoil(mirror, lambda content: content[: int(share * len(content))])
    message = refusal()
    assert str(mirror / ARCHIVE) in message and "fetch it again" in message
    assert arrays(cache) == []


def test_an_archive_damaged_anywhere_is_told(mirror, cache):
    """400 bytes of zeros: in a header of the archive, in the packed stream or in a photograph."""
    for share in np.linspace(0, 0.88, 45):

        def zero(content, share=share):
            middle = int(share * len(content))
            return content[:middle] + bytes(400) + content[middle + 400 :]

        spoil(mirror, zero)
        assert str(mirror / ARCHIVE) in refusal()
        assert arrays(cache) == []


def test_something_else_in_place_of_the_archive_is_told(mirror, cache):
    spoil(mirror, lambda _: b"<html>please log in</html>")
    assert str(mirror / ARCHIVE) in refusal()
    assert arrays(cache) == []


@pytest.mark.parametrize("name", ["../evil.jpg", "jpg/../../evil.jpg"])
def test_an_archive_with_a_member_that_climbs_out_is_refused(mirror, cache, tmp_path, name):
    write_archive(mirror / ARCHIVE, [*shuffled(), (name, photograph(1))])
    sign(mirror)
    message = refusal()
    assert str(mirror / ARCHIVE) in message and "evil.jpg" in message
    assert arrays(cache) == [] and not list(tmp_path.rglob("evil.jpg"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_an_archive_with_a_link_to_elsewhere_is_refused(mirror, cache, kind):
    with tarfile.open(mirror / ARCHIVE, "w:gz") as tar:
        link = tarfile.TarInfo(member(1))
        link.type, link.linkname = kind, "../../secret.jpg"
        tar.addfile(link)
    sign(mirror)
    message = refusal()
    assert str(mirror / ARCHIVE) in message and member(1) in message
    assert arrays(cache) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"GIF89a, or so it says", photograph(3)[:-200], photograph(3)[:30], encoded(noise(90, 90), "PNG")[:9000]],
    ids=["empty", "no picture", "cut short", "header alone", "cut short png"],
)
def test_a_corrupt_photograph_is_named(mirror, cache, content):
    write_archive(mirror / ARCHIVE, shuffled(image_00003=content))
    sign(mirror)
    message = refusal()
    assert member(3) in message and "not a readable photograph" in message
    assert arrays(cache) == []


def test_a_missing_photograph_is_named(mirror, cache):
    write_archive(mirror / ARCHIVE, [file for file in shuffled() if file[0] != member(5)])
    sign(mirror)
    message = refusal()
    assert str(mirror / ARCHIVE) in message and member(5) in message
    assert arrays(cache) == []


def test_a_photograph_kept_twice_does_not_hide_a_missing_one(mirror, cache):
    files = [file for file in shuffled() if file[0] != member(5)]
    write_archive(mirror / ARCHIVE, [*files, (member(2), photograph(2))])
    sign(mirror)
    assert member(5) in refusal()
    assert arrays(cache) == []


@pytest.mark.parametrize("count", [COUNT - 1, COUNT + 1])
def test_a_label_file_of_wrong_length_is_told_with_both_numbers(mirror, cache, count):
    scipy.io.savemat(mirror / LABELS, {"labels": np.resize(KINDS, count)[None].astype(np.uint8)})
    sign(mirror)
    message = refusal()
    assert str(mirror / LABELS) in message and f"{count} labels" in message and f"{COUNT} images" in message
    assert arrays(cache) == []


@pytest.mark.parametrize("file", [LABELS, SETS])
def test_something_else_in_place_of_a_label_file_is_told(mirror, cache, file):
    (mirror / file).write_bytes(b"<html>please log in</html>")
    sign(mirror)
    assert str(mirror / file) in refusal()
    assert arrays(cache) == []


@pytest.mark.parametrize("file", [LABELS, SETS])
def test_a_label_file_without_labels_is_told(mirror, cache, file):
    scipy.io.savemat(mirror / file, {"something": [1, 2]})
    sign(mirror)
    assert str(mirror / file) in refusal()


def in_another_process(code, *prefix):
    """Load the small data set at 256 px (1.8 MB) after some code; its exit status and the last line it said."""
    program = (
        f"{code}\nfrom flowerlib import data\nfrom flowerlib.errors import FlowerlibError\n"
        "try:\n    data.load('oxford102', 256, quiet=True)\n"
        "except FlowerlibError as error:\n    print('told:', error)\n"
    )
    done = subprocess.run([*prefix, sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    return done.returncode, (done.stdout.splitlines() or [done.stderr])[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on a process's files")
def test_a_file_that_may_not_grow_is_told(mirror, cache):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))"
    status, said = in_another_process(limit)
    assert status == 0 and said.startswith("told: ") and str(cache / "arrays") in said
    assert arrays(cache) == []


def test_a_disk_that_fills_up_is_told(mirror, cache):
    """A disk of 400 kB of its own: too small for the array, and said before anything is written."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("a disk of its own needs Linux and the right to mount one (unshare -rm)")
    cache.mkdir()
    mount = 'mount -t tmpfs -o size=400k none "$FLOWERLIB_CACHE" && "$@" && [ -z "$(ls -A "$FLOWERLIB_CACHE")" ]'
    status, said = in_another_process("", "unshare", "-rm", "sh", "-c", mount, "sh")
    assert status == 0 and said.startswith("told: no space left") and str(cache) in said


def test_an_error_of_the_disk_is_told_with_the_size(mirror, cache, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(data.Path, "replace", full)
    message = refusal()
    assert "No space left on device" in message and str(cache / "arrays") in message and " MB" in message
    assert arrays(cache) == []


# The drawn flowers


def test_the_drawn_flowers_are_102_kinds_in_parts_like_the_official_ones():
    fine, sets = data.drawn_layout()
    assert len(fine) == 2448 and {name: len(ids) for name, ids in sets.items()} == {
        "trnid": 408,
        "valid": 408,
        "tstid": 1632,
    }
    for name, fewest, most in (("trnid", 4, 4), ("valid", 4, 4), ("tstid", 8, 24)):
        counts = np.bincount(fine[sets[name] - 1], minlength=102)
        assert (counts.min(), counts.max()) == (fewest, most)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(sets.values()))), np.arange(1, len(fine) + 1))


def test_drawn_flowers_need_no_mirror_and_are_drawn_once(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWERLIB_MIRROR", str(tmp_path / "nowhere"))
    few = np.array([3, 50, 3]), {"trnid": np.array([1]), "valid": np.array([2]), "tstid": np.array([3])}
    monkeypatch.setattr(data, "drawn_layout", lambda: few)
    dataset = load(24, name="drawn")
    expected = data.synthetic.draw([3, 50, 3], [0, 1, 2], 24)[0]
    np.testing.assert_array_equal(dataset.images, expected)
    assert isinstance(dataset.images, np.memmap) and not dataset.images.flags.writeable
    monkeypatch.setattr(data.synthetic, "draw", None)
    np.testing.assert_array_equal(load(24, name="drawn").images, expected)


# What names the data


def test_the_manifest_changes_with_the_archive_and_with_nothing_else(mirror, cache):
    before = data.manifest("oxford102")
    (mirror / "SHA256SUMS").touch()
    assert data.manifest("oxford102") == before
    write_archive(mirror / ARCHIVE, shuffled(image_00001=photograph(2)))
    sign(mirror)
    assert data.manifest("oxford102") != before
    assert data.manifest("drawn") not in (before, data.manifest("oxford102"))


# The photographs


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_preparing_the_photographs_at_96_px_stays_under_1_gib(photographs, cache):
    # Linux counts the memory of the process that forked, here pytest's, into ru_maxrss; not into VmHWM.
    code = (
        "import pathlib, re, resource\nfrom flowerlib import data\n"
        "images = data.load('oxford102', 96, quiet=True).images\n"
        "status, peak = pathlib.Path('/proc/self/status'), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "peak = re.search(r'VmHWM:\\s+(\\d+)', status.read_text())[1] if status.exists() else peak\n"
        "print(*images.shape, peak)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *shape, peak = map(int, done.stdout.split())
    peak_mib = peak / (2**20 if sys.platform == "darwin" else 2**10)
    assert shape == [8189, 96, 96, 3]
    assert peak_mib < 1024
