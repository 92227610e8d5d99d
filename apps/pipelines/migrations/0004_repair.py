from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("pipelines", "0003_draft")]

    operations = [
        migrations.AddField(
            model_name="pipelineversion",
            name="repair",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text=(
                    "Ask once more, and pay for it, where an answer is not JSON or off the schema."
                ),
            ),
        ),
    ]
