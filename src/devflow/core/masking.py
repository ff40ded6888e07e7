"""Hides secrets in output, before it is stored or shown anywhere."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from devflow.core.shell import MASK

SHORTEST = 4
"""Shorter values are not hidden: `1` or `on` would black out every log."""
MANY_LINES, LONGEST = 200, 4_096
"""Of a text with more lines or characters only the lines are looked for, and base64 as it is broken into lines: no line
of a log is longer than 16 KB, and a certificate bundle would make thousands of forms."""
_WRAPPED_AT = (76, 64)
"""Where `base64` and `openssl` break lines."""
_DEEPEST = 40
"""Levels of a pattern: Python compiles it by recursion, and secrets may each be the beginning of the next."""
_HEAD = 16
"""Characters of a form that the pattern looks for; the rest is compared where they are found. Python compiles a pattern
character by character: twenty private keys in all their forms are a million."""
_ALPHABETS = (base64.b64encode, base64.urlsafe_b64encode)


class Masker:
    """Replaces each secret by ***, also its lines, and each of them in base64 (also in the middle of a longer text),
    hex, URLs, HTML, JSON, `.env` and shell quotes."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST}
        self._by_head: dict[str, list[str]] = {}
        for form in sorted(forms, key=len, reverse=True):
            self._by_head.setdefault(form[:_HEAD], []).append(form)
        for head, found in self._by_head.items():  # where none of its own is there, a shorter form may be
            found += [head[:size] for size in range(len(head) - 1, SHORTEST - 1, -1) if head[:size] in forms]
        self._pattern = re.compile(_tree(sorted(self._by_head))) if forms else None

    def mask(self, text: str) -> str:
        parts, place, end = [], 0, 0
        while self._pattern and (match := self._pattern.search(text, place)):
            start = match.start()
            form = next((form for form in self._by_head[match[0]] if text.startswith(form, start)), "")
            if form:
                parts += [text[end:start], MASK]
                end = start + len(form)
            place = end if form else start + 1
        return "".join([*parts, text[end:]])


def _forms(secret: str) -> Iterator[str]:
    # at any end of a line, not only "\n": of "a\rb" a log shows what follows
    lines = {line.strip() for line in secret.splitlines()} if secret.splitlines() != [secret] else {secret}
    yield from lines
    if len(secret) > LONGEST or len(lines) > MANY_LINES:
        for line in lines:
            yield from _texts(line)
        yield from _wrapped(secret.encode())
        return
    for value in lines | {secret}:
        if len(value) >= SHORTEST:
            yield from _texts(value)
            yield from _codes(value.encode())
    yield from _wrapped(secret.encode())


def _texts(value: str) -> Iterator[str]:
    """As URLs, JSON, HTML, `.env` files and shells write it."""
    for encoded in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield encoded
        yield re.sub("%..", lambda match: match[0].lower(), encoded)
    for text in (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
        yield text
        yield text.replace("/", "\\/")
    escaped = html.escape(value)
    yield from (html.escape(value, quote=False), escaped, escaped.replace("&#x27;", "&#39;"))
    yield escaped.replace("&#x27;", "&#039;")
    doubled = value.replace("\\", "\\\\")
    yield from (doubled, doubled.replace('"', '\\"').replace("$", "\\$"), doubled.replace("'", "\\'"))
    yield re.sub(r'([\\"$`])', r"\\\1", value)
    yield from (value.replace("'", "'\"'\"'"), value.replace("'", "'\\''"))


def _codes(raw: bytes) -> Iterator[str]:
    """In hex, and in base64: as a whole, and as it looks at each of the three places where it may begin in the middle
    of a longer text. What shares a character with its neighbours is left out there: at most four bits at either end."""
    yield from (raw.hex(), raw.hex().upper())
    for encode in _ALPHABETS:
        whole = encode(raw).decode().rstrip("=")
        yield from (whole, quote(whole, safe=""))
        for shift in range(3):
            encoded = encode(bytes(shift) + raw).decode()
            inner = encoded[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]
            yield from (inner, quote(inner, safe=""))


def _wrapped(raw: bytes) -> Iterator[str]:
    """The lines of its base64, where it takes several."""
    encoded = base64.b64encode(raw).decode().rstrip("=")
    for width in _WRAPPED_AT:
        if len(encoded) > width:
            yield from (encoded[start : start + width] for start in range(0, len(encoded), width))


def _tree(forms: list[str], start: int = 0, depth: int = 0) -> str:
    """A pattern for any of the sorted texts, the longest first: what they begin with alike is compared once. A plain
    list of a thousand alternatives would be tried one by one at every character of a log."""
    if len(forms) == 1:
        return re.escape(forms[0][start:])
    if depth == _DEEPEST:
        longest_first = sorted((form[start:] for form in forms), key=len, reverse=True)
        return f"(?:{'|'.join(map(re.escape, longest_first))})"
    shared = _shared_prefix(forms[0], forms[-1])
    is_whole = len(forms[0]) == shared
    groups: dict[str, list[str]] = {}
    for form in forms[1:] if is_whole else forms:
        groups.setdefault(form[shared], []).append(form)
    branches = "|".join(_tree(group, shared, depth + 1) for group in groups.values())
    return f"{re.escape(forms[0][start:shared])}(?:{branches}){'?' if is_whole else ''}"


def _shared_prefix(first: str, last: str) -> int:
    """How many characters two texts have alike at their beginning: in a sorted list, all between them too."""
    limit = min(len(first), len(last))
    return next((place for place in range(limit) if first[place] != last[place]), limit)
