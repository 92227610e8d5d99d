"""Addresses of refused requests; an action is a resource of its own."""

from __future__ import annotations

from django.urls import path

from apps.ingest import refused_many, refused_pages

app_name = "refused"
urlpatterns = [
    path("refused/", refused_pages.refused_list, name="list"),
    path("refused/accept/", refused_many.accept_many, name="accept_many"),
    path("refused/discard/", refused_many.discard_many, name="discard_many"),
    path("refused/<str:public_id>/", refused_pages.refused_page, name="request"),
    path("refused/<str:public_id>/accept/", refused_pages.accept_one, name="accept"),
    path("refused/<str:public_id>/discard/", refused_pages.discard_one, name="discard"),
]
