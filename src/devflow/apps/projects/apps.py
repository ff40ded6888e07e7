"""The Django app `projects`."""

from django.apps import AppConfig


class ProjectsConfig(AppConfig):
    name = "devflow.apps.projects"
    label = "projects"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from devflow.apps.accounts import rights
        from devflow.apps.projects import grants

        rights.load_grants_with(grants.grants_of)
