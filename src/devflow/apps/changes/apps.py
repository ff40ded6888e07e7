"""The Django app of what changed, for those who look at it."""

from django.apps import AppConfig


class ChangesConfig(AppConfig):
    name = "devflow.apps.changes"
    label = "changes"
