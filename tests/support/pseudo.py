"""A language in which each text is «itself»: what a page shows outside of these marks is not translatable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any, Final

from django.apps import apps
from django.utils.translation import trans_real

from devflow.web.templatetags import panel

LANGUAGE: Final = "de"
"""It stands in for German."""
_SHOWN: Final = ("title", "aria-label", "aria-description", "placeholder", "alt", "data-label", "data-done")
"""Attributes whose value people see or hear."""
_NOT_PROSE: Final = ("script", "style", "code", "pre", "kbd", "textarea")
_EMPTY: Final = (
    *("area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"),
    *("use", "path", "rect"),
)
_NUMBERS: Final = (
    *("x", "y", "cx", "cy", "r", "rx", "width", "height", "points", "viewbox"),
    *("style", "min", "max", "step"),
)
"""Attributes whose numbers are read by programs: with a point in every language."""
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_TOLD: Final = re.compile(r"«[^«»]*»")


class _Marked(trans_real.DjangoTranslation):
    """Says that it is German, and translates nothing but by marks."""

    def gettext(self, message: str) -> str:
        return f"«{message.rpartition(trans_real.CONTEXT_SEPARATOR)[2]}»"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)


@contextmanager
def marked() -> Iterator[None]:
    """German is marked English within."""
    loaded: dict[str, trans_real.DjangoTranslation] = vars(trans_real)["_translations"]
    before = trans_real.translation(LANGUAGE)
    loaded[LANGUAGE] = _Marked(LANGUAGE)
    _forget_kept()
    try:
        yield
    finally:
        loaded[LANGUAGE] = before
        _forget_kept()


def _forget_kept() -> None:
    """What pages keep in the words of a language."""
    for each in vars(panel).values():
        if hasattr(each, "cache_clear"):
            each.cache_clear()


def unmarked(html: str, known: Iterable[str]) -> list[str]:
    """What a page shows in words of English that no catalog has; `known` are words that are no English of ours."""
    reader = _Texts()
    reader.feed(html)
    reader.close()
    known = set(known)
    return [text for text in reader.outside() if any(word.lower() not in known for word in _WORD.findall(text))]


def commas(html: str) -> list[str]:
    """Numbers with a comma where a browser reads them."""
    reader = _Texts()
    reader.feed(html)
    return [value for value in reader.numbers if re.search(r"\d,\d", value)]


class _Texts(HTMLParser):
    """Collects texts and attributes; a mark may reach over elements."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: list[str] = []
        self._attributes: list[str] = []
        self._open: list[str] = []
        self.numbers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in _EMPTY:
            self._open.append(
                "code" if given.get("translate") == "no" or "mono" in (given.get("class") or "").split() else tag
            )
        self.numbers += [str(given[name]) for name in _NUMBERS if given.get(name)]
        is_same = tag in _EMPTY and given.get("translate") == "no"
        names = _SHOWN if not self._is_apart() and not is_same else ()
        self._attributes += [str(given[name]) for name in names if given.get(name)]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.numbers += [str(value) for name, value in attrs if name in _NUMBERS]

    def handle_endtag(self, tag: str) -> None:
        if tag not in _EMPTY and self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if not self._is_apart():
            self._texts.append(data)

    def _is_apart(self) -> bool:
        return any(tag in _NOT_PROSE for tag in self._open)

    def outside(self) -> Iterator[str]:
        yield from without_marks("\0".join(self._texts)).split("\0")
        for text in self._attributes:
            yield from without_marks(text).split("\0")


def without_marks(text: str) -> str:
    """The text without what is marked, also marks within marks."""
    while (shorter := _TOLD.sub("\0", text)) != text:
        text = shorter
    return text


def words_in(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}


def words_of_data() -> set[str]:
    """All words that the database holds where people or machines put them: names, commits, addresses."""
    words: set[str] = set()
    for model in apps.get_models():
        fields = [field for field in model._meta.local_concrete_fields if not field.choices]
        for row in model._base_manager.all()[:500] if model._meta.managed else ():
            for field in fields:
                words |= words_in(str(_value(row, field.attname)))
    return words


def _value(row: Any, name: str) -> Any:
    try:
        return getattr(row, name)
    except Exception:
        return ""  # what cannot be opened is not shown either
