"""What a password must be besides long and uncommon."""

from __future__ import annotations

from typing import Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

DIFFERENT: Final = 4


class VariedPasswordValidator:
    """Refuses twelve blanks, and the like."""

    def validate(self, password: str, user: object = None) -> None:
        """Raises ValidationError."""
        if len(set(password.strip())) < DIFFERENT:
            raise ValidationError(
                _("Use at least %(count)s different characters.") % {"count": DIFFERENT}, code="password_not_varied"
            )

    def get_help_text(self) -> str:
        return _("It must have at least %(count)s different characters.") % {"count": DIFFERENT}
