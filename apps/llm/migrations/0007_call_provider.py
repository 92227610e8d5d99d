from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("llm", "0006_duplicate_hours")]

    operations = [
        migrations.AddField(
            model_name="llmcall",
            name="provider",
            field=models.CharField(blank=True, db_default="", default="", max_length=60),
        ),
    ]
