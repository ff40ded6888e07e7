"""What a password must be besides long and uncommon."""

from __future__ import annotations

from typing import Final

from django.core.exceptions import ValidationError

DIFFERENT: Final = 4


class VariedPasswordValidator:
    """Refuses twelve blanks, and the like."""

    def validate(self, password: str, user: object = None) -> None:
        """Raises ValidationError."""
        if len(set(password.strip())) < DIFFERENT:
            raise ValidationError(f"Use at least {DIFFERENT} different characters.", code="password_not_varied")

    def get_help_text(self) -> str:
        return f"It must have at least {DIFFERENT} different characters."
