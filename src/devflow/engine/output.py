"""Reads a run's journal: frames apart from output, whole lines only, as text that can be stored and shown."""

from __future__ import annotations

import re
from dataclasses import dataclass

from devflow.engine.script import FRAME

_MARK = FRAME.encode()
LONGEST_LINE, LONGEST_WORD = 16_384, 4_096
"""Bytes after which a line is cut, so that a flood without newlines stays in bounded memory; at a space where one is
near, since a secret that is cut in two would not be recognised."""


@dataclass(frozen=True, slots=True)
class Line:
    text: str


@dataclass(frozen=True, slots=True)
class Frame:
    """As written by the script: begin N, end N CODE, skip N, gate N, await commit|image, note KEY VALUE, explain TEXT,
    ended CODE. `uptime` in seconds."""

    uptime: float
    kind: str
    rest: str


class JournalReader:
    """Feed it bytes as they come; `offset` counts those that have been given out as lines and frames.

    A line that has not ended yet is kept back, so a reader that starts again at `offset` loses and doubles nothing.
    `ended` is the run's exit code once the journal has told it: its last frame, written when everything is done.
    Invalid UTF-8 becomes U+FFFD; of a line redrawn by carriage returns its last state is kept, as a terminal shows it.
    """

    def __init__(self, nonce: str, offset: int = 0) -> None:
        self.offset = offset
        self.ended: int | None = None
        self._rest = b""
        self._nonce = nonce.encode()
        self._frame = re.compile(f"{FRAME}{nonce} ([0-9.]+) ([a-z]+) ?([^\n]*?){FRAME}".encode())

    def feed(self, chunk: bytes) -> list[Line | Frame]:
        self._rest += chunk
        items: list[Line | Frame] = []
        start = 0
        while (end := self._next_end(start)) > 0:
            items += self._items(self._rest[start:end])
            start = end
        self.offset += start
        self._rest = self._rest[start:]
        return items

    def finish(self) -> list[Line | Frame]:
        """What is left when the journal has ended: a last line without newline."""
        rest, self._rest = self._rest, b""
        self.offset += len(rest)
        return self._items(rest) if rest else []

    def _next_end(self, start: int) -> int:
        """Where the line that begins at `start` ends, 0 where that is not known yet: the same for any chunks."""
        limit = start + LONGEST_LINE
        newline = self._rest.find(b"\n", start, limit + 1)
        if newline >= 0 or len(self._rest) <= limit:
            return newline + 1
        frame = self._rest.find(_MARK, start + 1, limit)
        if frame > 0:
            return frame
        space = self._rest.rfind(b" ", limit - LONGEST_WORD, limit)
        return space + 1 if space > 0 else _whole_character(self._rest, limit)

    def _items(self, line: bytes) -> list[Line | Frame]:
        match = self._frame.search(line) if _MARK in line else None
        if match is None:
            line = self._without_torn(line)
            return [Line(_text(line))] if line else []
        before = [Line(_text(line[: match.start()]))] if match.start() else []
        frame = Frame(float(match[1]), match[2].decode(), match[3].decode(errors="replace"))
        if frame.kind == "ended":
            self.ended = int(frame.rest)
        return [*before, frame]

    def _without_torn(self, line: bytes) -> bytes:
        """The line before a frame that a full disk took no more than the beginning of; it is written anew behind it."""
        text, _, torn = line.rstrip(b"\n").rpartition(_MARK)
        is_torn = torn and _MARK in line and (self._nonce.startswith(torn) or torn.startswith(self._nonce + b" "))
        return text if is_torn else line


def _whole_character(data: bytes, end: int) -> int:
    """The last place at or before `end` where no character of UTF-8 is cut in two (it has four bytes at most)."""
    return next((place for place in range(end, end - 4, -1) if data[place] & 0xC0 != 0x80), end)


def _text(line: bytes) -> str:
    text = line.decode(errors="replace").rstrip("\r\n")
    return text.rsplit("\r", 1)[-1].replace("\x00", "\N{REPLACEMENT CHARACTER}").replace(FRAME, "")
