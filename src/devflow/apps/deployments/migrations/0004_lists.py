from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


def add(model: str, index: models.Index) -> list[migrations.operations.base.Operation]:
    """Makes an index beside the work of a panel that runs; what a run that was broken off has left goes first."""
    left = migrations.RunSQL(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}", migrations.RunSQL.noop)
    return [left, AddIndexConcurrently(model_name=model, index=index)]


class Migration(migrations.Migration):
    """Indexes for lists, which are read by id, the newest first."""

    atomic = False

    dependencies = [
        ("deployments", "0003_traffic"),
    ]

    operations = [
        *add(
            "deployment",
            models.Index(fields=["environment", "-id"], include=["status"], name="deployment_newest"),
        ),
        *add("deployment", models.Index(fields=["team", "-id"], name="deployment_newest_team")),
        *add("deployment", models.Index(fields=["team", "status", "-id"], name="deployment_newest_status")),
        *add("deployment", models.Index(fields=["team", "trigger", "-id"], name="deployment_newest_trigger")),
        *add("deployment", models.Index(fields=["project", "-id"], name="deployment_newest_project")),
        *add(
            "release",
            models.Index(condition=models.Q(pruned_at=None), fields=["environment", "-name"], name="release_kept"),
        ),
        migrations.SeparateDatabaseAndState(
            [migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS deployment_team", migrations.RunSQL.noop)],
            [migrations.RemoveIndex(model_name="deployment", name="deployment_team")],
        ),
    ]
