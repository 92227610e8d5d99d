from typing import Any

import django.db.models.deletion
from django.db import migrations, models


def remove_those_of_samples(apps: Any, schema_editor: Any) -> None:
    """On the way back: an older release knows of events only."""
    apps.get_model("backtests", "BacktestRow").objects.filter(event=None).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("backtests", "0002_row_route"),
        ("events", "0004_attempt_route"),
        ("pipelines", "0009_sample"),
    ]

    operations = [
        migrations.AddField(
            model_name="backtestrow",
            name="sample",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="pipelines.sample",
            ),
        ),
        migrations.AlterField(
            model_name="backtestrow",
            name="event",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="events.event",
            ),
        ),
        migrations.AddConstraint(
            model_name="backtestrow",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("event__isnull", False), ("sample__isnull", True)),
                    models.Q(("event__isnull", True), ("sample__isnull", False)),
                    _connector="OR",
                ),
                name="backtest_row_has_one_subject",
            ),
        ),
        migrations.RunPython(migrations.RunPython.noop, remove_those_of_samples),
    ]
