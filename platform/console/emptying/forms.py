"""How a region is emptied."""

from __future__ import annotations

from django import forms
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldBooleanWidget

STEP = 10


class Pace(forms.Form):
    """How many cells move at a time."""

    step = forms.IntegerField(
        label="Cells at a time",
        min_value=1,
        initial=STEP,
        help_text="After a step of which a part failed no other begins.",
        widget=UnfoldAdminIntegerFieldWidget,
    )


class Emptying(Pace):
    aside = forms.BooleanField(
        label="For maintenance: it takes no lease until its cells are brought home",
        required=False,
        widget=UnfoldBooleanWidget,
    )
