import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import apps.events.ids


class Migration(migrations.Migration):
    dependencies = [
        ("pipelines", "0008_needs"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Sample",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=apps.events.ids.new_event_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                (
                    "origin",
                    models.CharField(
                        choices=[
                            ("ready", "Of the ready pipeline"),
                            ("own", "Pasted"),
                            ("event", "Copy of an event"),
                        ],
                        default="own",
                        max_length=10,
                    ),
                ),
                ("raw", models.BinaryField()),
                (
                    "content_type",
                    models.CharField(blank=True, default="application/json", max_length=100),
                ),
                ("digest", models.CharField(max_length=64)),
                ("expected", models.JSONField(null=True)),
                ("kept_until", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "pipeline",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="samples",
                        to="pipelines.pipeline",
                    ),
                ),
            ],
            options={
                "ordering": ["created_at", "id"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("pipeline", "digest"), name="sample_body_once")
                ],
            },
        ),
    ]
