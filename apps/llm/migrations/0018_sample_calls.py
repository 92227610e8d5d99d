from typing import Any

import django.db.models.deletion
from django.db import migrations, models


def remove_those_of_samples(apps: Any, schema_editor: Any) -> None:
    """On the way back: an older release knows of events only."""
    apps.get_model("llm", "LLMCall").objects.filter(event=None).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0004_attempt_route"),
        ("llm", "0017_batch_reading"),
        ("pipelines", "0009_sample"),
        ("sources", "0003_source_rules"),
    ]

    operations = [
        migrations.AddField(
            model_name="costhour",
            name="on_samples",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="llmcall",
            name="sample",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="llm_calls",
                to="pipelines.sample",
            ),
        ),
        migrations.AlterField(
            model_name="llmcall",
            name="event",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="llm_calls",
                to="events.event",
            ),
        ),
        migrations.AddConstraint(
            model_name="costhour",
            constraint=models.UniqueConstraint(
                condition=models.Q(("on_samples", True)),
                fields=("hour", "pipeline", "model", "provider"),
                name="cost_hour_of_samples_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="llmcall",
            constraint=models.UniqueConstraint(
                fields=("sample", "step", "request_hash"), name="llm_call_once_per_sample"
            ),
        ),
        migrations.AddConstraint(
            model_name="llmcall",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("event__isnull", False), ("sample__isnull", True)),
                    models.Q(("event__isnull", True), ("sample__isnull", False)),
                    _connector="OR",
                ),
                name="llm_call_has_one_subject",
            ),
        ),
        migrations.RunPython(migrations.RunPython.noop, remove_those_of_samples),
    ]
