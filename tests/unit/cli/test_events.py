"""Server-sent events as the command line reads them."""

from __future__ import annotations

import json

import pytest

from devflow.cli.events import Event, parse

TEXTS = ["plain\n", "line\u2028separator \u0085 next \x0b line\n", "zwei\ndrei\n", ""]


def encoded(seq: int, text: str) -> bytes:
    data = json.dumps({"seq": seq, "text": text}, ensure_ascii=False)
    return f"id: {seq}\nevent: deployment.log\ndata: {data}\n\n".encode()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_events_are_read_whatever_the_pieces_are(size: int) -> None:
    whole = b"retry: 1000\n\n" + b": still here\n\n".join(encoded(seq, text) for seq, text in enumerate(TEXTS, 1))
    pieces = (whole[start : start + size] for start in range(0, len(whole), size))
    events = list(parse(pieces))
    assert events == [Event(seq, "deployment.log", {"seq": seq, "text": text}) for seq, text in enumerate(TEXTS, 1)]


def test_half_an_event_is_none() -> None:
    assert list(parse(iter([encoded(1, "text")[:-1]]))) == []
