"""What the layers below say (errors, causes, labels of plug-ins) in the language of a page, or of who is told.

They know no languages: what they say is English, for the API and the command line too. bin/messages takes their texts
into the catalogs, under the context `told`, as they are written in the code: a value stands there as %(1)s, %(2)s … in
its order. Here a finished message is found again by the text around its values. What no catalog has stays English, and
so do the names of steps: devflow.yml and logs call them so.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.utils.translation import get_language, pgettext
from django.utils.translation.trans_real import CONTEXT_SEPARATOR

ENGLISH: Final = "en"
CONTEXT: Final = "told"
_VALUE: Final = re.compile(r"%\((\d+)\)s")
_MOST: Final = 1000
"""Longer messages are what a program printed."""


def told(text: str, *, names: Iterable[str] = ()) -> str:
    """`text` in the language of now, as far as the catalogs have it; values in it that are `names` stay, whatever they
    are called."""
    language = get_language() or ENGLISH
    if language == ENGLISH or not text or len(text) > _MOST:
        return text
    if (whole := pgettext(CONTEXT, text)) != text:
        return whole
    for pattern, english in _patterns(language):
        if match := pattern.fullmatch(text):
            known = {name for name in names if name}
            found = (_pattern_with(english, known).fullmatch(text) or match).groupdict() if known else match.groupdict()
            values = {key.removeprefix("v"): value if value in known else told(value) for key, value in found.items()}
            return _filled(pgettext(CONTEXT, english), values)
    return text


def catalog(language: str, domain: str = "django") -> dict[str | tuple[str, int], str]:
    """The translations of ours, by the English text; of a text that counts, each form by its number."""
    found: Any = gettext.translation(domain, Path(settings.LOCALE_PATHS[0]), [language], fallback=True)
    return dict(getattr(found, "_catalog", {}))


@cache
def _patterns(language: str) -> list[tuple[re.Pattern[str], str]]:
    """Of the messages with values, those with the most text of their own first."""
    prefix = f"{CONTEXT}{CONTEXT_SEPARATOR}"
    keys = [key.removeprefix(prefix) for key in catalog(language) if isinstance(key, str) and key.startswith(prefix)]
    with_values = sorted((key for key in keys if _VALUE.search(key)), key=lambda key: -len(_VALUE.sub("", key)))
    return [(re.compile(_pattern(key), re.DOTALL), key) for key in with_values]


def _pattern_with(english: str, names: set[str]) -> re.Pattern[str]:
    """Where a value may be one of these, it is: "a to b" is one name where there is such a project."""
    known = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(_pattern(english, f"{known}|.+?"), re.DOTALL)


def _pattern(english: str, value: str = ".+?") -> str:
    """%% is a sign of percent there, as in every text with values."""
    parts = _VALUE.split(english)
    return "".join(
        f"(?P<v{part}>{value})" if number % 2 else re.escape(part.replace("%%", "%"))
        for number, part in enumerate(parts)
    )


def _filled(text: str, values: dict[str, str]) -> str:
    return _VALUE.sub(lambda match: values[match[1]], text).replace("%%", "%")
