from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_this_machine"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="uses_keys",
            field=models.BooleanField(default=True),
        ),
        # at once: the version before, which does not know the column, goes on adding users
        migrations.RunSQL("ALTER TABLE accounts_user ALTER COLUMN uses_keys SET DEFAULT true", migrations.RunSQL.noop),
    ]
