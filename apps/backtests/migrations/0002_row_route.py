from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("backtests", "0001_initial")]

    operations = [
        migrations.AddField("backtestrow", "route", models.JSONField(null=True)),
    ]
