"""Blobs are exactly the bytes they name; trees hold every file once, and say by name what they cannot take."""

import io
import os
import pickle
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from frostline import errors, storage

DATA = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("storage") / "data.bin"
    path.write_bytes(DATA)
    return path


@hypothesis.given(
    offset=strategies.integers(0, len(DATA)),
    size=strategies.integers(0, len(DATA)),
    steps=strategies.lists(
        strategies.tuples(
            strategies.integers(0, len(DATA)), strategies.sampled_from([0, 1, 2]), strategies.integers(-1, 999)
        ),
        max_size=8,
    ),
)
def test_a_part_reads_and_seeks_as_a_file_of_its_own(
    file: Path, offset: int, size: int, steps: list[tuple[int, int, int]]
):
    size = min(size, len(DATA) - offset)
    whole = storage.blob(str(file.parent), file.name)
    expected = io.BytesIO(DATA[offset : offset + size])
    with (whole.part(offset, size) if offset else storage.Blob(str(file), 0, len(DATA), "")).open() as part:
        if not offset:
            expected = io.BytesIO(DATA)
        for place, whence, count in steps:
            start = -min(place, expected.getbuffer().nbytes) if whence == 2 else place
            assert part.seek(start, whence) == expected.seek(start, whence)
            assert part.read(count) == expected.read(count)
            assert part.tell() == expected.tell()


def test_a_whole_local_file_is_a_plain_file(file: Path):
    whole = storage.blob(str(file.parent), file.name)
    with whole.open() as opened:
        assert os.fstat(opened.fileno()).st_size == len(DATA)
    assert whole.read(len(DATA)) == DATA
    with pytest.raises(errors.WrongUse, match="10240 bytes, but no more than 10239 are read here"):
        whole.read(len(DATA) - 1)


def test_a_blob_travels_to_another_process(file: Path):
    part = storage.blob(str(file.parent), file.name, 3)
    again = pickle.loads(pickle.dumps(part))  # noqa: S301 - our own
    assert again == part
    assert again.read(len(DATA)) == DATA[3:]


def test_the_stamp_changes_with_the_bytes_even_if_size_and_time_do_not(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    before, status = storage.blob(str(tmp_path), "a"), path.stat()
    assert storage.blob(str(tmp_path), "a") == before
    path.write_bytes(b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = storage.blob(str(tmp_path), "a")
    assert after.size == before.size
    assert after.stamp != before.stamp
    assert after.part(1, 2).stamp != before.part(1, 2).stamp
    assert after.part(1, 1).stamp != after.part(2, 1).stamp


def test_files_that_went_grew_or_shrank_are_said_to_have(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    whole = storage.blob(str(tmp_path), "a")
    part = whole.part(2, 3)
    path.write_bytes(b"1234")
    for entry in (whole, part):
        with pytest.raises(storage.Changed, match="a: 4 bytes, another size than when it was listed"):
            entry.open()
    path.unlink()
    for entry in (whole, part):
        with pytest.raises(storage.Gone, match="a: no such file"):
            entry.open()
    with pytest.raises(storage.Gone):
        storage.blob(str(tmp_path), "a")
    with pytest.raises(errors.WrongUse, match="not a file"):
        storage.blob(str(tmp_path.parent), tmp_path.name)


def test_a_part_that_shrinks_while_it_is_read_is_an_error_not_a_short_read(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(bytes(300_000))
    with storage.blob(str(tmp_path), "a", 10).open() as part:
        assert part.read(10) == bytes(10)
        os.truncate(path, 1000)
        with pytest.raises(storage.Changed, match="ends before byte"):
            part.read()


def test_a_tree_is_sorted_by_name_and_skips_hidden_names(tmp_path: Path):
    for name in ("b.png", "a/z.png", "a-b/1.png", ".git/x", "a/.hidden", "日本\u3000語.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = storage.tree(f"{tmp_path}/")
    assert [name for name, _ in found] == ["a-b/1.png", "a/z.png", "b.png", "日本\u3000語.png"]
    assert [blob.read(99).decode() for _, blob in found] == [name for name, _ in found]
    assert [storage.blob(str(tmp_path), name) for name, _ in found] == [blob for _, blob in found]


def test_what_a_tree_cannot_take_is_named(tmp_path: Path):
    (tmp_path / "good").touch()
    (tmp_path / "line\nend").touch()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/latin-\xe9")).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    os.mkfifo(tmp_path / "pipe")
    found, passed = storage.walk(str(tmp_path))
    assert [name for name, _ in found] == ["good"]
    assert {entry.name: entry.reason for entry in passed} == {
        "'line\\nend'": "unprintable_name",
        "'latin-\\udce9'": "unprintable_name",
        "loop": "link_to_folder",
        "nowhere": "absent",
        "itself": "absent",
        "pipe": "not_a_file",
    }
    with pytest.raises(errors.WrongUse, match=r"'latin-\\udce9': a name with line ends"):
        storage.tree(str(tmp_path))


def test_a_linked_file_is_a_file(tmp_path: Path):
    (tmp_path / "there").write_text("x")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "there")
    assert [(name, blob.read(9)) for name, blob in storage.tree(str(tmp_path / "here"))] == [("link", b"x")]


def test_many_are_read_in_order_and_a_failure_is_one_of_them(tmp_path: Path):
    for name in "abc":
        (tmp_path / name).write_text(name * 3)
    blobs = [storage.blob(str(tmp_path), name) for name in "abc"]
    (tmp_path / "b").unlink()
    first, second, third = storage.read_all(blobs, 99)
    assert (first, third) == (b"aaa", b"ccc")
    assert isinstance(second, storage.Gone)


@pytest.mark.parametrize(
    ("root", "name", "path"),
    [
        ("data", "a/b", "data/a/b"),
        ("data/", "a", "data/a"),
        ("/", "a", "/a"),
        ("s3://b/p", "k", "s3://b/p/k"),
        ("s3://b", "k", "s3://b/k"),
        ("data", "/abs", "/abs"),
        ("data", "s3://b/k", "s3://b/k"),
    ],
)
def test_paths_are_joined(root: str, name: str, path: str):
    assert storage.join(root, name) == path


@pytest.mark.parametrize(("path", "parts"), [("a/b/c", ("a/b", "c")), ("c", (".", "c")), ("/c", ("/", "c"))])
def test_paths_are_parted(path: str, parts: tuple[str, str]):
    assert storage.parent(path) == parts


def test_other_addresses_are_refused_and_folders_that_are_not_there():
    with pytest.raises(errors.WrongUse, match=r"gs://bucket: only local paths and s3://"):
        storage.tree("gs://bucket")
    with pytest.raises(errors.WrongUse, match="nowhere: no such folder"):
        storage.tree("nowhere")


def test_s3fs_is_not_imported_for_local_paths(tmp_path: Path):
    import subprocess
    import sys

    code = (
        f"import sys; from frostline import storage; storage.tree({str(tmp_path)!r}); sys.exit('s3fs' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
