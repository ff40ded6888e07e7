"""The Django app `servers`."""

from django.apps import AppConfig


class ServersConfig(AppConfig):
    name = "devflow.apps.servers"
    label = "servers"
    default_auto_field = "django.db.models.BigAutoField"
