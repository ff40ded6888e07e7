from django.db import migrations, models

ALLOW = """
UPDATE accounts_team SET may_use_this_machine = true
WHERE id = (SELECT id FROM accounts_team ORDER BY created_at LIMIT 1)
   OR id IN (SELECT team_id FROM servers_server WHERE is_local)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_people"),
        ("servers", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="team",
            name="may_use_this_machine",
            field=models.BooleanField(default=False),
        ),
        migrations.RunSQL(ALLOW, migrations.RunSQL.noop),
    ]
