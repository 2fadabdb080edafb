"""The confirmation of what can't be undone with a click: a name, typed."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget


class Confirmation(forms.Form):
    """`name` is what has to be typed. `operation` is the idempotency key: one rendered form starts
    its work once."""

    operation = forms.UUIDField(widget=forms.HiddenInput)
    confirm = forms.CharField(
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off", "spellcheck": "false"})
    )

    def __init__(self, *args: Any, name: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._name = name
        self.fields["operation"].initial = uuid4()

    def clean_confirm(self) -> str:
        typed: str = self.cleaned_data["confirm"].strip()
        if typed != self._name:
            raise forms.ValidationError(f"Type {self._name} to confirm. Nothing was changed.")
        return typed
