"""How people are told that they tried too often."""

from __future__ import annotations

import math

from django.core.exceptions import ValidationError
from django.utils.translation import ngettext


def too_many(seconds: int) -> ValidationError:
    """Also how long it is until they may go on."""
    minutes = math.ceil(seconds / 60)
    text = ngettext(
        "Too many attempts. Try again in a minute.",
        "Too many attempts. Try again in %(count)s minutes.",
        max(1, minutes),
    )
    return ValidationError(text % {"count": minutes}, code="too_many_login_attempts")
