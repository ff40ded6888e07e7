from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("notifications", "0002_push")]

    operations = [
        migrations.AddField(
            model_name="channel",
            name="language",
            field=models.CharField(default="en", max_length=10),
        ),
        # at once: the version before, which does not know the column, goes on adding channels
        migrations.RunSQL(
            "ALTER TABLE notifications_channel ALTER COLUMN language SET DEFAULT 'en'", migrations.RunSQL.noop
        ),
    ]
