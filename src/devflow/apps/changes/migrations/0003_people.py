from importlib import import_module

from django.db import migrations

told = import_module("devflow.apps.changes.migrations.0001_initial").told
# As in the first migration: table → the columns whose change is told, and the topics.
TABLES = {
    "accounts_invitation": ("accepted_at, revoked_at", "'member'"),
    "projects_grant": ("action", "'project:' || {it}.project_id"),
}
PROTECTED = """
CREATE TRIGGER changes_protected AFTER UPDATE ON projects_environment
  FOR EACH ROW WHEN (OLD.is_protected IS DISTINCT FROM NEW.is_protected)
  EXECUTE FUNCTION changes_projects_environment()
"""


class Migration(migrations.Migration):
    dependencies = [
        ("changes", "0002_topics_of_pages"),
        ("accounts", "0002_people"),
        ("projects", "0002_people"),
    ]

    operations = [
        *[told(table, *how) for table, how in TABLES.items()],
        migrations.RunSQL(PROTECTED, "DROP TRIGGER changes_protected ON projects_environment"),
    ]
