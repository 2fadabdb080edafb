"""The onboarding form: everything is checked here before an operation is queued.

The verb checks it all again: the form is there to explain, the verb to decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from uuid import uuid4

from django import forms
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from console.onboarding.choices import (
    MODES,
    POLICIES,
    RegionVerdict,
    lawful_cells,
    policy_choices,
    verdicts,
)
from regions.deployment import Deployment
from regions.errors import RegionsError
from regions.residency import parse_policy
from regions.topology import CellSpec, Topology
from tenants.models import Domain, Plan, Tenant

AUTO = ""
UNFINISHED = (Tenant.State.FAILED, Tenant.State.PROVISIONING)


class OnboardingForm(forms.Form):
    """`operation` is the idempotency key: one rendered form starts at most one onboarding."""

    operation = forms.UUIDField(widget=forms.HiddenInput)
    residency = forms.ChoiceField(
        label="Residency",
        widget=UnfoldAdminSelectWidget,
        help_text="Where the law or the contract lets this customer's data be.",
    )
    mode = forms.ChoiceField(label="Isolation", widget=forms.RadioSelect)
    policy = forms.ChoiceField(label="Write policy", widget=forms.RadioSelect)
    cell = forms.ChoiceField(label="Cell", required=False, widget=UnfoldAdminSelectWidget)
    plan = forms.ChoiceField(
        label="Plan",
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="What it may use at most. It can be changed at any time.",
    )
    slug = forms.CharField(
        label="Slug",
        max_length=40,
        widget=UnfoldAdminTextInputWidget(
            {"autocomplete": "off", "spellcheck": "false", "placeholder": "acme"}
        ),
        validators=Tenant._meta.get_field("slug").validators,
    )

    def __init__(
        self,
        *args: Any,
        deployment: Deployment,
        topology: Topology,
        taken: Mapping[str, int],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._deployment = deployment
        self.fields["operation"].initial = uuid4()
        self._choose("residency", policy_choices(deployment.regions.values()))
        self._choose("mode", [(value, title) for value, title, _ in MODES])
        self._choose("policy", [(value, title) for value, title, _ in POLICIES])
        plans = Plan.objects.values_list("name", flat=True)
        self._choose("plan", [(name, name) for name in plans])
        self.verdicts = self._judge()
        self.cells = lawful_cells(
            topology.cells.values(),
            self.verdicts,
            mode=str(self["mode"].value() or ""),
            taken=taken,
        )
        offered = [(spec.name, _describe(spec)) for spec in self.cells]
        self._choose("cell", [(AUTO, "Choose or make a lawful cell for me"), *offered])

    def clean_slug(self) -> str:
        """Free, or left behind by an onboarding that did not end: the verb takes that up."""
        slug: str = self.cleaned_data["slug"]
        host = f"{slug}.{self._deployment.domain}"
        tenants = Tenant.objects.filter(slug=slug).exclude(state__in=UNFINISHED)
        domains = Domain.objects.filter(host=host).exclude(tenant__slug=slug)
        if tenants.exists() or domains.exists():
            raise forms.ValidationError(f"“{slug}” is taken: choose another slug.")
        return slug

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if self.verdicts and not any(verdict.lawful for verdict in self.verdicts):
            self.add_error(
                "residency",
                "No region of this deployment is lawful for this policy. "
                f"{self.verdicts[0].decision.reason}",
            )
        chosen = next((cell for cell in self.cells if cell.name == data.get("cell")), None)
        if chosen is not None and chosen.policy.value != data.get("policy"):
            self.add_error(
                "policy",
                f"Cell {chosen.name} is {chosen.policy.value.replace('_', '-')}: "
                "choose that, or let a cell be chosen for you.",
            )
        return data

    def arguments(self) -> dict[str, str | None]:
        """What the verb is called with."""
        data = self.cleaned_data
        return {
            "mode": data["mode"],
            "cell": data["cell"] or None,
            "residency": data["residency"],
            "policy": data["policy"],
            "plan": data["plan"] or Plan.DEFAULT,
        }

    def _judge(self) -> tuple[RegionVerdict, ...]:
        """The law's answer, for each region, to the residency chosen so far."""
        try:
            policy = parse_policy(str(self["residency"].value() or ""))
        except RegionsError:
            return ()
        return verdicts(policy, self._deployment.regions.values(), timezone.now())

    def _choose(self, name: str, choices: list[Any]) -> None:
        cast(forms.ChoiceField, self.fields[name]).choices = choices


def _describe(cell: CellSpec) -> str:
    return f"{cell.name} · {', '.join(cell.regions)} · {cell.policy.value.replace('_', '-')}"
