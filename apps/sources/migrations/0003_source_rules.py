from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sources", "0002_secret_use"),
    ]

    operations = [
        migrations.AddField(
            model_name="source",
            name="rules",
            field=models.JSONField(blank=True, db_default={}, default=dict, editable=False),
        ),
    ]
