import pytest

from frostline import digests


def test_json_digest_does_not_depend_on_the_order_of_keys():
    assert digests.of_json({"a": 1, "b": [2.5]}) == digests.of_json({"b": [2.5], "a": 1})
    assert digests.of_json({"a": 1}) != digests.of_json({"a": 1.5})
    assert len(digests.of_json({})) == 32


def test_no_number_is_no_json():
    with pytest.raises(ValueError, match="JSON"):
        digests.canonical(float("nan"))


def test_a_file_has_the_digest_of_its_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "CHUNK", 3)  # several chunks
    (tmp_path / "file").write_bytes(b"0123456789")
    assert digests.of_file(tmp_path / "file") == digests.of_bytes(b"0123456789")


def test_a_folder_digest_sees_names_and_contents(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"x")
    first = digests.of_folder(tmp_path)
    (tmp_path / "deep" / "file").write_bytes(b"y")
    changed = digests.of_folder(tmp_path)
    (tmp_path / "deep" / "file").rename(tmp_path / "deep" / "other")
    assert len({first, changed, digests.of_folder(tmp_path)}) == 3
