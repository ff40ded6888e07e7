"""The Django app `containers`."""

from django.apps import AppConfig


class ContainersConfig(AppConfig):
    name = "devflow.apps.containers"
    label = "containers"
    default_auto_field = "django.db.models.BigAutoField"
