import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

# The team's row goes with all that is the team's; what its removal changed, nobody has to be told of.
BELONGS = """
ALTER TABLE changes_change ADD CONSTRAINT change_team_fk
  FOREIGN KEY (team_id) REFERENCES accounts_team (id) ON DELETE CASCADE
"""
TELL = """
CREATE FUNCTION changes_tell(team uuid, topics text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO changes_change (team_id, topics, transaction, at)
    SELECT team, topics, pg_current_xact_id()::text::bigint, clock_timestamp()
    FROM accounts_team WHERE accounts_team.id = team;
  PERFORM pg_notify('devflow_changes', json_build_object(
    'team', team, 'topics', topics, 'mark', pg_snapshot_xmin(pg_current_snapshot())::text)::text);
END $$
"""
# Table → the columns whose change is told ('' for any), and the topics; {it} is the row.
TABLES = {
    "deployments_deployment": (
        "status, commit, waiting_for, due_at, cancel_requested_at",
        "'deployment', 'deployment:' || {it}.id, 'project:' || {it}.project_id, 'environment:' || {it}.environment_id",
    ),
    "servers_server": (
        "name, host, port, status, status_message, facts, host_key, cluster_id",
        "'server', 'server:' || {it}.id",
    ),
    "servers_cluster": ("name, observed, problem", "'cluster', 'cluster:' || {it}.id"),
    "servers_clusteraction": ("status", "'cluster:' || {it}.cluster_id"),
    "projects_project": ("name, recipe", "'project', 'project:' || {it}.id"),
    "projects_environment": (
        "branch, strategy, freezes, windows",
        "'environment', 'environment:' || {it}.id, 'project:' || {it}.project_id",
    ),
    "notifications_channel": ("", "'channel', 'channel:' || {it}.id"),
    "notifications_notification": ("status", "'channel:' || {it}.channel_id"),
    "accounts_membership": ("role", "'member'"),
}
TRIGGERS = """
CREATE FUNCTION changes_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    PERFORM changes_tell(OLD.team_id, ARRAY[{old}]);
  ELSE
    PERFORM changes_tell(NEW.team_id, ARRAY[{new}]);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER changes_added AFTER INSERT OR DELETE ON {table}
  FOR EACH ROW EXECUTE FUNCTION changes_{table}();
CREATE TRIGGER changes_changed AFTER UPDATE ON {table}
  FOR EACH ROW WHEN ({before} IS DISTINCT FROM {after}) EXECUTE FUNCTION changes_{table}()
"""
UNDONE = """
DROP TRIGGER changes_added ON {table};
DROP TRIGGER changes_changed ON {table};
DROP FUNCTION changes_{table}()
"""


def told(table: str, columns: str, topics: str) -> migrations.RunSQL:
    def row(it: str) -> str:
        return "({})".format(", ".join(f"{it}.{name}" for name in columns.split(", "))) if columns else f"{it}.*"

    sql = TRIGGERS.format(
        table=table, old=topics.format(it="OLD"), new=topics.format(it="NEW"), before=row("OLD"), after=row("NEW")
    )
    return migrations.RunSQL(sql, UNDONE.format(table=table))


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("accounts", "0003_this_machine"),
        ("notifications", "0001_initial"),
        ("servers", "0002_traffic"),
        ("projects", "0004_traffic"),
        ("deployments", "0003_traffic"),
    ]

    operations = [
        migrations.CreateModel(
            name="Change",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "topics",
                    django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=60), size=None),
                ),
                ("transaction", models.BigIntegerField()),
                ("at", models.DateTimeField()),
                (
                    "team",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="accounts.team",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["team", "transaction"], name="change_team"),
                    models.Index(fields=["at"], name="change_at"),
                ],
            },
        ),
        migrations.RunSQL(BELONGS, migrations.RunSQL.noop),
        migrations.RunSQL(TELL, "DROP FUNCTION changes_tell(uuid, text[])"),
        *[told(table, *how) for table, how in TABLES.items()],
    ]
