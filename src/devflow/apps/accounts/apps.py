"""The Django app `accounts`."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import pre_save


class AccountsConfig(AppConfig):
    name = "devflow.apps.accounts"
    label = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # allauth saves second factors itself, and says only here whose they are.
        pre_save.connect(_seal_second_factor, sender="mfa.Authenticator", dispatch_uid="seal second factors")


def _seal_second_factor(*, instance: Any, **_: Any) -> None:
    from devflow.apps.accounts.factor_secrets import seal_before_saving  # models, which are loaded by now

    seal_before_saving(instance=instance)
