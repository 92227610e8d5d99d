from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("pipelines", "0007_approval")]

    operations = [
        migrations.AddField(
            "pipelineversion",
            "needs",
            models.PositiveSmallIntegerField(db_default=1, default=1, editable=False),
        ),
    ]
