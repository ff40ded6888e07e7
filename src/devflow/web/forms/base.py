"""What all forms share: services check the input in depth, and what they refuse is shown at its field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django import forms

from devflow.apps.told import told
from devflow.core.errors import ConflictError, InvalidError

T = TypeVar("T")


class PanelForm(forms.Form):
    """`conflict_field` is where a ConflictError of the service is shown; '' shows it above the form."""

    conflict_field = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})

    def submit(self, service: Callable[..., T], **arguments: Any) -> T | None:
        """Calls the service; None when it refuses, with the reasons among the form's errors."""
        try:
            return service(**arguments)
        except InvalidError as error:
            for name, message in (error.errors or {"": str(error)}).items():
                self.add_error(name if name in self.fields else None, told(message))
        except ConflictError as error:
            self.add_error(self.conflict_field or None, told(str(error)))
        return None

    def problems(self) -> str:
        """All that is wrong, for a page that does not show the form again."""
        return " ".join(str(problem) for problems in self.errors.values() for problem in problems)


class SecretArea(forms.Textarea):
    """A text area that does not send back what was typed: a form that is refused would show the secret again."""

    def format_value(self, value: Any) -> str:
        return ""


def secret_area(rows: int) -> SecretArea:
    """A text area for private keys and values of variables; who is refused pastes them again."""
    return SecretArea(code_area(rows).attrs)


class SecretLine(forms.TextInput):
    """A line that does not send back what was typed."""

    def format_value(self, value: Any) -> str:
        return ""


def secret_line(**attrs: str) -> SecretLine:
    """A line for addresses that are secret as a whole."""
    return SecretLine(code_line(**attrs).attrs)


def code_area(rows: int = 3) -> forms.Textarea:
    """A text area for keys, paths and commands."""
    return forms.Textarea(
        attrs={"rows": rows, "class": "code", "spellcheck": "false", "autocapitalize": "off", "autocomplete": "off"}
    )


def code_line(**attrs: str) -> forms.TextInput:
    """A line for names, branches and addresses, which are the same in every language."""
    plain = {"spellcheck": "false", "autocapitalize": "off", "autocomplete": "off", "translate": "no"}
    return forms.TextInput(attrs={"class": "code", **plain, **attrs})


def code_select() -> forms.Select:
    """A choice between names that are the same in every language."""
    return forms.Select(attrs={"translate": "no"})


def lines(text: str) -> list[str]:
    """The lines of a text area, without empty ones."""
    return [line.strip() for line in text.splitlines() if line.strip()]
