"""What is chosen before a tenant moves."""

from __future__ import annotations

from collections.abc import Iterable

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget

from console.onboarding.choices import MODES
from regions.topology import CellSpec


class PlaceChoice(forms.Form):
    """Shows the preview of another place as soon as it is chosen: `mode:NAME` or `cell:NAME`."""

    to = forms.ChoiceField(
        label="New place", widget=UnfoldAdminSelectWidget({"onchange": "this.form.submit()"})
    )

    def __init__(self, cells: Iterable[CellSpec], chosen: str) -> None:
        super().__init__(initial={"to": chosen})
        self.fields["to"].widget.choices = [
            (
                "A lawful place of this kind",
                [(f"mode:{value}", title) for value, title, _ in MODES],
            ),
            ("A cell", [(f"cell:{cell.name}", _described(cell)) for cell in cells]),
        ]


def _described(cell: CellSpec) -> str:
    return f"{cell.name} · {cell.mode.value} · {', '.join(cell.regions)}"
