"""What narrows the list of discarded values."""

from __future__ import annotations

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from tenants.conflicts.entries import KINDS


class ConflictFilter(forms.Form):
    """A table's name and the rule that discarded a value; empty fields take all."""

    table = forms.CharField(
        required=False, widget=UnfoldAdminTextInputWidget({"placeholder": "all"})
    )
    kind = forms.ChoiceField(
        label="Rule",
        required=False,
        choices=[("", "all"), *KINDS.items()],
        widget=UnfoldAdminSelectWidget,
    )
