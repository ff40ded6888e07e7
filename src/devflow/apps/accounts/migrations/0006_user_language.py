from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_user_wrote_at")]

    operations = [
        migrations.AddField(
            model_name="user",
            name="language",
            field=models.CharField(blank=True, default="", max_length=10),
        ),
        # at once: the version before, which does not know the column, goes on adding users
        migrations.RunSQL("ALTER TABLE accounts_user ALTER COLUMN language SET DEFAULT ''", migrations.RunSQL.noop),
    ]
