from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("llm", "0013_provider_background")]

    operations = [
        migrations.AddField("llmcall", "missing_since", models.DateTimeField(null=True)),
    ]
