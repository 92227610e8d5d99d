from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("llm", "0014_missing_since")]

    operations = [
        migrations.AddField(
            "costhour",
            "provider",
            models.CharField(blank=True, db_default="", default="", max_length=60),
        ),
        migrations.RemoveConstraint("costhour", "cost_hour_once"),
        migrations.AddConstraint(
            "costhour",
            models.UniqueConstraint(
                fields=["hour", "source", "pipeline", "model", "provider"],
                name="cost_hour_once_per_provider",
            ),
        ),
    ]
