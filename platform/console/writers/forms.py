"""What is chosen before a cell's writer moves or its policy changes."""

from __future__ import annotations

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
