"""Pages for what is forbidden or not there; they say where to go instead."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    sentence = "Your role does not allow this. Ask an administrator if you need it."
    return _show(request, "Not allowed", sentence, 403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _show(request, "Not found", "There is nothing at this address.", 404)


def _show(request: HttpRequest, title: str, sentence: str, status: int) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": title, "sentence": sentence}
    return render(request, "errors/page.html", context, status=status)
