"""The confirmation of a failover: the region's name, typed."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget


class FailoverForm(forms.Form):
    """`operation` is the idempotency key: one rendered form starts at most one failover."""

    operation = forms.UUIDField(widget=forms.HiddenInput)
    confirm = forms.CharField(
        label="Region name",
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, region: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._region = region
        self.fields["operation"].initial = uuid4()

    def clean_confirm(self) -> str:
        typed: str = self.cleaned_data["confirm"].strip()
        if typed != self._region:
            raise forms.ValidationError(f"Type {self._region} to confirm. Nothing was changed.")
        return typed
