"""The Django app that carries templates, template tags and static files of the pages."""

from django.apps import AppConfig


class WebConfig(AppConfig):
    name = "devflow.web"
    label = "web"
