"""Reading a journal: any chunks give the same items, and any resumption loses and doubles nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devflow.core.masking import Masker
from devflow.engine.output import LONGEST_LINE, Frame, JournalReader, Line

NONCE = "0123456789abcdef01234567"
FRAME = b"\x1e"


def frame(words: str, nonce: str = NONCE, uptime: str = "12.34") -> bytes:
    return FRAME + f"{nonce} {uptime} {words}".encode() + FRAME + b"\n"


def read(journal: bytes, *, cuts: list[int] | None = None) -> list[Line | Frame]:
    reader, items, last = JournalReader(NONCE), [], 0
    for cut in [*sorted(cuts or []), len(journal)]:
        items += reader.feed(journal[last:cut])
        last = cut
    return items + reader.finish()


PIECES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([b"\n", b"\r\n", b"\r", FRAME, b"\xff", "ü".encode(), b"\x00", b"\x1b[31mred\x1b[0m\n"]),
    st.sampled_from(
        [frame("begin 3"), frame("end 3 0"), frame("note commit abc\tAda"), frame("begin 3", nonce="f" * 24)]
    ),
    st.integers(LONGEST_LINE - 40, LONGEST_LINE + 40).map(lambda size: b"x" * size),
    st.just("日本 ".encode() * 9_000),
)
JOURNALS = st.lists(PIECES, max_size=12).map(b"".join)


@given(journal=JOURNALS, data=st.data())
def test_chunks_make_no_difference(journal: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(journal)), max_size=8))
    assert read(journal, cuts=cuts) == read(journal)


@given(journal=JOURNALS, data=st.data())
def test_a_reader_that_resumes_loses_and_doubles_nothing(journal: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(journal)))
    first = JournalReader(NONCE)
    items = first.feed(journal[:cut])
    second = JournalReader(NONCE, first.offset)
    items += second.feed(journal[first.offset :])
    items += second.finish()
    assert items == read(journal)
    assert second.offset == len(journal)


@given(journal=JOURNALS)
def test_every_item_can_be_stored_and_shown(journal: bytes) -> None:
    for item in read(journal):
        text = item.text if isinstance(item, Line) else item.rest
        assert "\n" not in text
        assert "\x00" not in text
        text.encode()


@given(
    lines=st.lists(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=50), max_size=20)
)
def test_plain_lines_come_out_as_they_went_in(lines: list[str]) -> None:
    journal = "".join(f"{line}\n" for line in lines).encode()
    assert read(journal) == [Line(line) for line in lines]


@pytest.mark.parametrize(
    ("journal", "lines"),
    [
        (b"one\ntwo", ["one", "two"]),
        (b"10%\r50%\r100%\n", ["100%"]),
        (b"windows\r\n", ["windows"]),
        (b"caf\xe9\n", ["caf\N{REPLACEMENT CHARACTER}"]),
        (b"\x1b[31mred\x1b[0m\n", ["\x1b[31mred\x1b[0m"]),
        (b"a\x00b\n", ["a\N{REPLACEMENT CHARACTER}b"]),
        (b"\n\n", ["", ""]),
        (b"", []),
    ],
)
def test_lines(journal: bytes, lines: list[str]) -> None:
    assert read(journal) == [Line(line) for line in lines]


def test_frames_are_told_from_output() -> None:
    journal = b"before" + frame("begin 1") + b"inside\n" + frame("end 1 0") + frame("explain it went wrong")
    assert read(journal) == [
        Line("before"),
        Frame(12.34, "begin", "1"),
        Line("inside"),
        Frame(12.34, "end", "1 0"),
        Frame(12.34, "explain", "it went wrong"),
    ]


def test_output_that_only_looks_like_a_frame_is_output() -> None:
    (item,) = read(frame("end 1 0", nonce="f" * 24))
    assert item == Line("f" * 24 + " 12.34 end 1 0")


@pytest.mark.parametrize("size", range(2, len(frame("gate 2")) - 2))
@pytest.mark.parametrize(("before", "text"), [(b"", []), (b"50 %", [Line("50 %")])])
def test_a_frame_that_a_full_disk_took_half_of_is_not_shown(size: int, before: bytes, text: list[Line]) -> None:
    """It is written once more, on a line of its own."""
    torn = before + frame("gate 2")[:size]
    assert read(torn + b"\n" + frame("gate 2")) == [*text, Frame(12.34, "gate", "2")]
    assert read(torn) == text


@given(size=st.integers(LONGEST_LINE - 60, LONGEST_LINE + 5))
def test_a_frame_behind_a_long_line_without_end_is_seen(size: int) -> None:
    items = read(b"x" * size + frame("end 1 0"), cuts=[size + 10])
    assert items[-1] == Frame(12.34, "end", "1 0")
    assert "".join(item.text for item in items if isinstance(item, Line)) == "x" * size


@given(size=st.integers(LONGEST_LINE - 30, LONGEST_LINE))
def test_a_secret_in_a_line_that_is_cut_stays_whole(size: int) -> None:
    masker, secret = Masker(["the-secret-value"]), "the-secret-value"
    words = "x" * (size - 10) + " "
    lines = [item.text for item in read(f"{words}{secret} {'y' * LONGEST_LINE}".encode()) if isinstance(item, Line)]
    assert len(lines) > 1
    assert all("secret" not in masker.mask(line) for line in lines)


def test_memory_stays_bounded_under_a_flood_without_newlines() -> None:
    reader = JournalReader(NONCE)
    for _ in range(50):
        reader.feed(b"x" * 65_536)
        assert len(reader._rest) <= LONGEST_LINE
    assert reader.offset >= 49 * 65_536


def test_a_hundred_thousand_lines() -> None:
    journal = b"".join(b"line %d\n" % number for number in range(100_000))
    reader, count = JournalReader(NONCE), 0
    for start in range(0, len(journal), 65_536):
        count += len(reader.feed(journal[start : start + 65_536]))
    assert (count, reader.offset) == (100_000, len(journal))
