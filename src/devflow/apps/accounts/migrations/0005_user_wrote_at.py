from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_keyboard")]

    operations = [
        migrations.AddField(
            model_name="user",
            name="wrote_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
