from django.db import migrations
from django.db.models import Count, F, Sum
from django.db.models.functions import Greatest, TruncHour

ADDED = ("calls", "input_tokens", "output_tokens", "cost_usd", "batch_saved_usd")


def split(apps, schema_editor):
    """What calls to a named provider cost, out of the rows of all: as far as the ledger goes back."""
    hours, calls = apps.get_model("llm", "CostHour"), apps.get_model("llm", "LLMCall")
    named = calls.objects.exclude(answered_at=None).exclude(provider="")
    rows = named.annotate(hour=TruncHour("answered_at")).values(
        "hour", "event__source", "event__pipeline_version__pipeline", "model", "provider"
    )
    sums = rows.annotate(
        calls=Count("pk"),
        events=Count("event", distinct=True),
        input=Sum("input_tokens"),
        output=Sum("output_tokens"),
        cost=Sum("cost_usd"),
        saved=Sum("saved_usd"),
    ).order_by("hour")
    for row in list(sums):
        key = {
            "hour": row["hour"],
            "source_id": row["event__source"],
            "pipeline_id": row["event__pipeline_version__pipeline"],
            "model": row["model"],
        }
        names = ("calls", "input", "output", "cost", "saved")
        found = dict(zip(ADDED, (row[name] for name in names), strict=True))
        found["events"] = row["events"]
        whole = hours.objects.filter(**key, provider="", calls__gte=row["calls"])
        # Not yet added up: the periodic task will.
        if whole.update(**{name: Greatest(F(name) - value, 0) for name, value in found.items()}):
            hours.objects.create(**key, provider=row["provider"], **found)


def join(apps, schema_editor):
    """Back into one row."""
    hours = apps.get_model("llm", "CostHour")
    names = (*ADDED, "events", "reused", "saved_usd")
    for row in hours.objects.exclude(provider=""):
        key = {"hour": row.hour, "source": row.source, "pipeline": row.pipeline, "model": row.model}
        whole, _ = hours.objects.get_or_create(**key, provider="")
        for name in names:
            setattr(whole, name, getattr(whole, name) + getattr(row, name))
        whole.save()
        row.delete()


class Migration(migrations.Migration):
    dependencies = [("llm", "0015_cost_by_provider")]

    operations = [migrations.RunPython(split, join)]
