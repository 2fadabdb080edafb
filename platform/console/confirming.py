"""The confirmation of what can't be undone with a click: a name, typed. Then it is queued, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.widgets import UnfoldAdminTextInputWidget

from console.access import actor
from console.operations import queue
from console.pages import UNPROCESSABLE


class Confirmation(forms.Form):
    """`name` is what has to be typed. `operation` is the idempotency key: one rendered form starts
    its work once."""

    operation = forms.UUIDField(widget=forms.HiddenInput)
    confirm = forms.CharField(
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off", "spellcheck": "false"})
    )

    def __init__(self, request: HttpRequest, *, name: str) -> None:
        super().__init__(request.POST if request.method == "POST" else None)
        self._request = request
        self._name = name
        self.fields["operation"].initial = uuid4()

    @property
    def status(self) -> int:
        """Of the page that shows it."""
        return UNPROCESSABLE if self.is_bound else 200

    def start(self, verb: str, arguments: Mapping[str, Any]) -> HttpResponse:
        """Queue the work on what was named, and show its progress. The form must be valid."""
        key = self.cleaned_data["operation"]
        operation = queue.start(key, verb, self._name, arguments, actor=actor(self._request))
        return redirect("console:operation", key=operation.id)

    def clean_confirm(self) -> str:
        typed: str = self.cleaned_data["confirm"].strip()
        if typed != self._name:
            raise forms.ValidationError(f"Type {self._name} to confirm. Nothing was changed.")
        return typed
