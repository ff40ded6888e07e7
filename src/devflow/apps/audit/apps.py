"""The Django app `audit`."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "devflow.apps.audit"
    label = "audit"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from devflow.apps.accounts import events
        from devflow.apps.audit import signals
        from devflow.apps.audit.services import person_record

        events.register(person_record)
        signals.connect()
