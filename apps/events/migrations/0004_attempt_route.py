from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("events", "0003_waiting_until")]

    operations = [
        migrations.AddField(model_name="attempt", name="route", field=models.JSONField(null=True)),
    ]
