"""How people are told that they tried too often."""

from __future__ import annotations

import math

from django.core.exceptions import ValidationError


def too_many(seconds: int) -> ValidationError:
    """Also how long it is until they may go on."""
    minutes = math.ceil(seconds / 60)
    when = "in a minute" if minutes <= 1 else f"in {minutes} minutes"
    return ValidationError(f"Too many attempts. Try again {when}.", code="too_many_login_attempts")
