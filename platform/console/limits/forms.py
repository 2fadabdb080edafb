"""Forms for limits: a plan's, and what differs from it for one tenant.

People write `5000`, `10GiB` or `unlimited`; an empty field is unlimited in a plan, and what the
plan says in a tenant's form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from console.limits.picture import LABELS
from tenants.errors import TenantsError
from tenants.limits.values import FROM_PLAN_WORD, NAMES, UNLIMITED_WORD, read_changes
from tenants.models import Plan
from tenants.placement import check_name

HINTS = {
    "requests_per_minute": "An average, in each region.",
    "burst": "Without a number: six seconds' worth of them.",
    "statement_ms": "In milliseconds.",
    "bytes": "Bytes, or such as 512MiB and 10GiB.",
}


class LimitFields(forms.Form):
    """A text field for each limit."""

    empty: str = UNLIMITED_WORD

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in NAMES:
            self.fields[name] = forms.CharField(
                label=LABELS[name],
                required=False,
                help_text=HINTS.get(name, ""),
                widget=UnfoldAdminTextInputWidget({"placeholder": self.empty}),
            )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        for name in NAMES:
            try:
                read_changes({name: data.get(name) or self.empty})
            except TenantsError as wrong:
                self.add_error(name, str(wrong))
        return data

    def changes(self) -> dict[str, int | str | None]:
        """What the verb is called with."""
        return read_changes({name: self.cleaned_data[name] or self.empty for name in NAMES})


class PlanForm(LimitFields):
    """`known` is the plan that is changed; None makes one."""

    def __init__(self, *args: Any, known: Plan | None, **kwargs: Any) -> None:
        initial = {} if known is None else {"name": known.name, **known.limits}
        super().__init__(*args, initial=initial, **kwargs)
        self._known = known
        self.fields["name"] = forms.CharField(
            max_length=40,
            disabled=known is not None,
            widget=UnfoldAdminTextInputWidget({"autocomplete": "off", "placeholder": "team"}),
        )
        self.order_fields(["name", *NAMES])

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        try:
            check_name(name, "plan's name")
        except TenantsError as wrong:
            raise forms.ValidationError(str(wrong)) from None
        if self._known is None and Plan.objects.filter(name=name).exists():
            raise forms.ValidationError("A plan of this name exists: change that one.")
        return name


class TenantLimitsForm(LimitFields):
    """Its plan, and its own limits beside it."""

    empty = FROM_PLAN_WORD

    def __init__(self, *args: Any, plan: str, override: Mapping[str, Any], **kwargs: Any) -> None:
        own = {
            name: UNLIMITED_WORD if value is None else str(value)
            for name, value in override.items()
        }
        super().__init__(*args, initial={"plan": plan, **own}, **kwargs)
        plans = Plan.objects.values_list("name", flat=True)
        self.fields["plan"] = forms.ChoiceField(
            choices=[(name, name) for name in plans], widget=UnfoldAdminSelectWidget
        )
        self.order_fields(["plan", *NAMES])
