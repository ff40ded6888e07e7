"""The Django app `accounts`."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "devflow.apps.accounts"
    label = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from allauth.mfa.models import Authenticator
        from django.db.models.signals import pre_save

        from devflow.apps.accounts.factor_secrets import seal_before_saving

        # allauth saves them itself, and says only here whose they are.
        pre_save.connect(seal_before_saving, sender=Authenticator, dispatch_uid="seal second factors")
