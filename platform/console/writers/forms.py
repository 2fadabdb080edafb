"""What is asked before a cell's writer moves or its policy changes. `operation` is the idempotency
key: one rendered form starts its work once."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from regions.timetable import GRAMMAR
from regions.topology import CellSpec, WritePolicy


class TargetChoice(forms.Form):
    """Shows the preview of another region as soon as it is chosen."""

    to = forms.ChoiceField(
        label="New writer", widget=UnfoldAdminSelectWidget({"onchange": "this.form.submit()"})
    )

    def __init__(self, spec: CellSpec, chosen: str) -> None:
        super().__init__(initial={"to": chosen})
        self.fields["to"].widget.choices = [(name, name) for name in spec.regions]


class PolicyChoice(forms.Form):
    """The same for a policy."""

    policy = forms.ChoiceField(
        label="Write policy",
        choices=[(policy.value, policy.value.replace("_", "-")) for policy in WritePolicy],
        widget=UnfoldAdminSelectWidget,
    )
    timetable = forms.CharField(
        required=False,
        help_text=f"To follow the sun: {GRAMMAR}, with commas between shifts.",
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off", "spellcheck": "false"}),
    )


class Confirmation(forms.Form):
    """The cell's name, typed."""

    operation = forms.UUIDField(widget=forms.HiddenInput)
    confirm = forms.CharField(
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off", "spellcheck": "false"})
    )

    def __init__(self, *args: Any, cell: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cell = cell
        self.fields["operation"].initial = uuid4()

    def clean_confirm(self) -> str:
        typed: str = self.cleaned_data["confirm"].strip()
        if typed != self._cell:
            raise forms.ValidationError(f"Type {self._cell} to confirm. Nothing was changed.")
        return typed
