from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from rlcode.data.lines import read_json_lines
from rlcode.errors import DataError


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    return path


def rows(path: Path) -> list[tuple[int, dict[str, object]]]:
    return list(read_json_lines(path))


def test_rows_come_with_their_line_numbers_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    path = written(tmp_path, b'{"a": 1}\n\n  \n{"a": 2}')
    assert rows(path) == [(1, {"a": 1}), (4, {"a": 2})]


def test_a_gzipped_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    assert rows(written(tmp_path, gzip.compress(b'{"a": "\xc3\xa9"}\n'))) == [(1, {"a": "é"})]


def test_a_byte_order_mark_and_crlf_do_no_harm(tmp_path: Path) -> None:
    assert rows(written(tmp_path, b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}\r\n')) == [(1, {"a": 1}), (2, {"a": 2})]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b'{"a": 1}\n{"a": \n', "line 2: not valid JSON"),
        (b'{"a": 1}\n{"a": "\xff"}\n', "line 2: byte 0xff at position 8 of the line is not UTF-8"),
        (b'{"a": 1}\n[1]\n', "line 2: expected a JSON object, got list"),
        (b"[" * 200_000, "line 1: not valid JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "line 1: not valid JSON"),
        (gzip.compress(b'{"a": 1}\n' * 1000, mtime=0)[:-20], "damaged gzip file"),
    ],
)
def test_what_is_wrong_is_named_with_its_file_and_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(DataError, match="(?s)" + words) as error:
        rows(path)
    assert str(path) in str(error.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        rows(tmp_path / "absent.jsonl")
    with pytest.raises(DataError, match="can't be read: Is a directory"):
        rows(tmp_path)
