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
    ]
