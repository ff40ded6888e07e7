"""Hides secrets in output, before it is stored or shown anywhere."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from devflow.core.shell import MASK

SHORTEST = 4
"""Shorter values are not hidden: `1` or `on` would black out every log."""


class Masker:
    """Replaces each secret by ***, also its lines, and each of them in base64, URLs, JSON, `.env` and shell quotes."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST}
        self._pattern = (
            re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))) if forms else None
        )

    def mask(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern else text


def _forms(secret: str) -> set[str]:
    lines = {line.strip() for line in secret.splitlines()} if "\n" in secret else {secret}
    forms = set(lines)
    for value in lines | {secret}:
        if len(value) < SHORTEST:
            continue
        forms |= {quote(value, safe=""), quote(value), quote_plus(value)}
        for text in (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
            forms |= {text, text.replace("/", "\\/")}
        doubled = value.replace("\\", "\\\\")
        forms |= {doubled, doubled.replace('"', '\\"').replace("$", "\\$"), doubled.replace("'", "\\'")}
        forms |= {value.replace("'", "'\"'\"'"), value.replace("'", "'\\''")}
        raw = value.encode()
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            forms.add(encode(raw).decode().rstrip("="))
    return forms
