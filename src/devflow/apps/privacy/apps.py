"""The Django app `privacy`."""

from django.apps import AppConfig


class PrivacyConfig(AppConfig):
    name = "devflow.apps.privacy"
    label = "privacy"
    default_auto_field = "django.db.models.BigAutoField"
