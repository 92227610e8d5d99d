from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("llm", "0011_provider_roles")]

    operations = [
        migrations.AddField(
            "llmcall",
            "response_id",
            models.CharField(blank=True, db_default="", default="", max_length=120),
        ),
        migrations.AddField(
            "llmcall", "is_response_open", models.BooleanField(db_default=False, default=False)
        ),
        migrations.AddField("llmcall", "kept_seat", models.JSONField(blank=True, null=True)),
        migrations.AddIndex(
            "llmcall",
            models.Index(
                condition=Q(("is_response_open", True)),
                fields=["intended_at"],
                name="llm_call_in_background",
            ),
        ),
    ]
