"""What is asked before a drill: the cell, and the scenario's name, typed."""

from __future__ import annotations

from collections.abc import Iterable

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget


class CellChoice(forms.Form):
    """Shows the preview of another cell as soon as it is chosen."""

    cell = forms.ChoiceField(
        label="Cell whose writer is hit",
        widget=UnfoldAdminSelectWidget({"onchange": "this.form.submit()"}),
    )

    def __init__(self, cells: Iterable[str], chosen: str) -> None:
        super().__init__(initial={"cell": chosen})
        self.fields["cell"].widget.choices = [(name, name) for name in cells]


class Confirmation(forms.Form):
    """The view compares it with the scenario's name."""

    confirm = forms.CharField(
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off", "spellcheck": "false"})
    )
