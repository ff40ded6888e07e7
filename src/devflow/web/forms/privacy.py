"""What is typed before something is deleted for good."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from devflow.web.forms.base import PanelForm, code_line


class DeleteForm(PanelForm):
    """`confirm` must be the name of what is deleted."""

    confirm = forms.CharField(label=_("Its name"), max_length=320, widget=code_line())
    with_files = forms.BooleanField(
        label=_("Also remove the sites from the servers"),
        help_text=_(
            "Their place in nginx and HAProxy, the processes, containers and images, and their folders with all "
            "that is in them. Docker's volumes, which hold data, stay: the audit log names them."
        ),
        required=False,
    )

    conflict_field = "confirm"

    def __init__(self, *args: Any, name: str, has_files: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._name = name
        self.fields["confirm"].label = _("Type %(name)s to confirm") % {"name": name}
        self.fields["confirm"].widget.attrs["data-typed"] = name
        if not has_files:
            del self.fields["with_files"]

    def clean_confirm(self) -> str:
        given = str(self.cleaned_data["confirm"]).strip()
        if given != self._name:
            raise forms.ValidationError(_("This is not %(name)s: nothing was deleted.") % {"name": self._name})
        return given
