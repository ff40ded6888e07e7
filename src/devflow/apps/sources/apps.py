"""The Django app `sources`."""

from django.apps import AppConfig


class SourcesConfig(AppConfig):
    name = "devflow.apps.sources"
    label = "sources"
    default_auto_field = "django.db.models.BigAutoField"
