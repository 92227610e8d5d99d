"""The periodic tasks that Celery beat starts."""

from __future__ import annotations

from celery import shared_task

from apps.approvals import watch as approval_watch
from apps.backtests import runner
from apps.dashboard import figures, heartbeats
from apps.dashboard.live import announce
from apps.housekeeping import health, reconciler, retention
from apps.llm import background_watch, batches, budget_watch, costs


@shared_task
def sample_status() -> None:
    """Measure the six figures, keep them for the charts, tell the open pages."""
    heartbeats.beat("celery")
    parts = {name: part.as_json() for name, part in health.get_parts().items()}
    figures.measure(parts).save()
    announce("figures", "parts")


@shared_task
def reconcile() -> None:
    """Restart what fell between queue, database and Temporal."""
    reconciler.reconcile()
    approval_watch.watch()


@shared_task
def apply_retention() -> None:
    """Delete what is older than it may be."""
    retention.apply()


@shared_task
def watch_budgets() -> None:
    """Warn once where one is nearly used up; let held events go on as the money allows."""
    budget_watch.watch()


@shared_task
def watch_background() -> None:
    """Stop or settle the background responses that no workflow waits for."""
    background_watch.watch()


@shared_task
def add_up_costs() -> None:
    """Keep the cost of the last hours for the cost view."""
    costs.add_up()


@shared_task
def run_backtests() -> None:
    """Go on with the backtests, a few seconds each."""
    runner.run_due()


@shared_task
def run_batches() -> None:
    """Gather, send, look at and read batches of calls; let their events go on."""
    batches.run_due()
