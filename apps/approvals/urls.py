"""Addresses of approvals; an action is a resource of its own."""

from __future__ import annotations

from django.urls import path

from apps.approvals import many, pages

app_name = "approvals"
urlpatterns = [
    path("approvals/", pages.approvals, name="list"),
    path("approvals/approve/", many.approve_many, name="approve_many"),
    path("approvals/reject/", many.reject_many, name="reject_many"),
    path("approvals/<str:public_id>/", pages.approval_page, name="approval"),
    path("approvals/<str:public_id>/approve/", pages.approve_one, name="approve"),
    path("approvals/<str:public_id>/reject/", pages.reject_one, name="reject"),
]
