"""Addresses of events; an action is a resource of its own."""

from __future__ import annotations

from django.urls import path

from apps.events import conflict_pages, dead_letter_pages, unknown_pages, views

app_name = "events"
urlpatterns = [
    path("events/", views.event_list, name="list"),
    path("events/<str:public_id>/", views.event_page, name="event"),
    path("events/<str:public_id>/payload/", views.event_payload, name="payload"),
    path("events/<str:public_id>/retry/", views.event_retry, name="retry"),
    path("events/<str:public_id>/discard/", views.event_discard, name="discard"),
    path("events/<str:public_id>/fail/", unknown_pages.fail, name="fail"),
    path("events/<str:public_id>/look-up/", unknown_pages.look_up, name="look_up"),
    path(
        "events/<str:public_id>/conflicts/process/",
        conflict_pages.process,
        name="process_conflicts",
    ),
    path(
        "events/<str:public_id>/conflicts/<str:conflict_id>/payload/",
        conflict_pages.payload,
        name="conflict_payload",
    ),
    path("dead-letters/", dead_letter_pages.dead_letters, name="dead_letters"),
    path("dead-letters/retry/", dead_letter_pages.retry_many, name="retry_many"),
    path("dead-letters/unbury/", dead_letter_pages.unbury, name="unbury"),
    path("dead-letters/discard/", dead_letter_pages.discard_many, name="discard_many"),
]
