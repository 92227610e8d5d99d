from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("llm", "0016_split_costs")]

    operations = [
        migrations.AddField("llmbatch", "reading", models.JSONField(blank=True, null=True)),
        migrations.AddField(
            "llmbatch", "faults", models.PositiveIntegerField(db_default=0, default=0)
        ),
    ]
