"""The Django app `deployments`."""

from django.apps import AppConfig


class DeploymentsConfig(AppConfig):
    name = "devflow.apps.deployments"
    label = "deployments"
    default_auto_field = "django.db.models.BigAutoField"
