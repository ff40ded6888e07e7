"""The Django app `accounts`."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "devflow.apps.accounts"
    label = "accounts"
    default_auto_field = "django.db.models.BigAutoField"
