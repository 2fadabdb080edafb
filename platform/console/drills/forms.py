"""What is asked before a drill (the cell, and the scenario's name, typed), and for a schedule."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from regions.drills.scenarios import SCENARIOS


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


class ScheduleForm(forms.Form):
    """The fields are the arguments of `schedule_drill`."""

    name = forms.SlugField(
        max_length=40, widget=UnfoldAdminTextInputWidget({"autocomplete": "off"})
    )
    scenario = forms.ChoiceField(
        choices=[(name, name) for name in SCENARIOS], widget=UnfoldAdminSelectWidget
    )
    timetable = forms.CharField(
        max_length=100,
        help_text="Minute, hour, day, month, weekday, in UTC: 0 3 * * mon",
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, cells: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = [(name, name) for name in cells]
        self.fields["cells"] = forms.MultipleChoiceField(
            choices=names,
            help_text="Drilled one after the other.",
            widget=UnfoldAdminSelectMultipleWidget,
        )
        self.order_fields(("name", "scenario", "cells", "timetable"))
