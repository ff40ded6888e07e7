"""The Django app `projects`."""

from django.apps import AppConfig


class ProjectsConfig(AppConfig):
    name = "devflow.apps.projects"
    label = "projects"
    default_auto_field = "django.db.models.BigAutoField"
