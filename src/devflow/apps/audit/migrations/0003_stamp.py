"""Events carry a stamp, which never changes: by it a row that somebody else wrote is known."""

from importlib import import_module

from django.db import migrations, models

rules = import_module("devflow.apps.audit.migrations.0002_data_append_only")

CHECK = (
    "CREATE OR REPLACE FUNCTION audit_event_check_update"
    + (rules.FORWARDS.split("CREATE FUNCTION audit_event_check_update")[1].split("CREATE TRIGGER")[0])
)
DIGESTS = ("who_digest", "what_digest")
WITH_STAMP = CHECK.replace(rules.same(*rules.STUB, *DIGESTS), rules.same(*rules.STUB, *DIGESTS, "stamp"))


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_data_append_only")]

    operations = [
        migrations.AddField(
            model_name="event",
            name="stamp",
            field=models.CharField(blank=True, max_length=64, default=""),
            preserve_default=False,
        ),
        migrations.RunSQL(WITH_STAMP, CHECK),
    ]
