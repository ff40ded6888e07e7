from django.db import migrations

# Table → topic, the columns whose change is told, and the topics; {it} is the row.
TABLES = {
    "containers_snapshot": ("taken_at", "'container:' || {it}.server_id"),
    "containers_action": ("state", "'container:' || {it}.server_id"),
    "sources_source": ("provider, hook_id, hook_problem, refused, api_url, repository", "'source:' || {it}.id"),
}
TRIGGERS = """
CREATE FUNCTION changes_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM changes_tell(NEW.team_id, ARRAY[{new}]);
  RETURN NULL;
END $$;
CREATE TRIGGER changes_added AFTER INSERT ON {table}
  FOR EACH ROW EXECUTE FUNCTION changes_{table}();
CREATE TRIGGER changes_changed AFTER UPDATE ON {table}
  FOR EACH ROW WHEN (({before}) IS DISTINCT FROM ({after})) EXECUTE FUNCTION changes_{table}()
"""
UNDONE = """
DROP TRIGGER changes_added ON {table};
DROP TRIGGER changes_changed ON {table};
DROP FUNCTION changes_{table}()
"""
# What only an environment's own pages show; the rest is told by 0001, to the dashboard too.
DETAILS = """
CREATE FUNCTION changes_environment_details() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM changes_tell(NEW.team_id, ARRAY['environment:' || NEW.id]);
  RETURN NULL;
END $$;
CREATE TRIGGER changes_details AFTER UPDATE ON projects_environment
  FOR EACH ROW WHEN ((OLD.hooks, OLD.detected, OLD.proxy_state, OLD.time_zone, OLD.root, OLD.keep, OLD.health_url)
    IS DISTINCT FROM (NEW.hooks, NEW.detected, NEW.proxy_state, NEW.time_zone, NEW.root, NEW.keep, NEW.health_url))
  EXECUTE FUNCTION changes_environment_details()
"""
NO_DETAILS = """
DROP TRIGGER changes_details ON projects_environment;
DROP FUNCTION changes_environment_details()
"""
# Deliveries that come together are added by one statement, and told of once.
DELIVERIES = """
CREATE FUNCTION changes_sources_delivery() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM changes_tell(came.team_id, ARRAY['source:' || came.source_id])
    FROM (SELECT DISTINCT team_id, source_id FROM added) AS came;
  RETURN NULL;
END $$;
CREATE TRIGGER changes_added AFTER INSERT ON sources_delivery
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION changes_sources_delivery()
"""
NO_DELIVERIES = """
DROP TRIGGER changes_added ON sources_delivery;
DROP FUNCTION changes_sources_delivery()
"""


def told(table: str, columns: str, topics: str) -> migrations.RunSQL:
    before, after = (", ".join(f"{it}.{name}" for name in columns.split(", ")) for it in ("OLD", "NEW"))
    sql = TRIGGERS.format(table=table, new=topics.format(it="NEW"), before=before, after=after)
    return migrations.RunSQL(sql, UNDONE.format(table=table))


class Migration(migrations.Migration):
    dependencies = [
        ("changes", "0001_initial"),
        ("containers", "0001_traffic"),
        ("projects", "0004_traffic"),
        ("sources", "0002_people"),
    ]

    operations = [
        *[told(table, *how) for table, how in TABLES.items()],
        migrations.RunSQL(DETAILS, NO_DETAILS),
        migrations.RunSQL(DELIVERIES, NO_DELIVERIES),
    ]
