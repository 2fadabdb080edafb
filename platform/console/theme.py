"""How Unfold looks and what the sidebar holds: the only module that knows Unfold's settings.

`UNFOLD` dresses every admin site (a tenant's own admin too); `UNFOLD_CONSOLE` adds what only
operators see. Imported by the settings, so it resolves nothing at import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy

_PRIMARY = {
    "50": "oklch(97.5% .014 190)",
    "100": "oklch(94.5% .03 190)",
    "200": "oklch(89% .055 190)",
    "300": "oklch(81% .085 190)",
    "400": "oklch(70% .105 192)",
    "500": "oklch(58% .1 195)",
    "600": "oklch(48% .085 197)",
    "700": "oklch(41% .073 199)",
    "800": "oklch(34.5% .06 201)",
    "900": "oklch(29.5% .05 203)",
    "950": "oklch(22% .04 205)",
}


def allowed(permission: str) -> Callable[[HttpRequest], bool]:
    """A sidebar entry that is shown to those who may open it."""

    def check(request: HttpRequest) -> bool:
        return bool(request.user.has_perm(permission))

    return check


def _item(title: str, icon: str, route: str, permission: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"console:{route}"),
        "permission": allowed(permission),
    }


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Meridian",
    "SITE_HEADER": "Meridian",
    "SITE_SYMBOL": "language",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("console/icon.svg")}
    ],
    "SITE_URL": None,
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "COLORS": {"primary": _PRIMARY},
}

UNFOLD_CONSOLE: dict[str, Any] = UNFOLD | {
    "SITE_SUBHEADER": "Operator console",
    "SHOW_HISTORY": False,
    "ENVIRONMENT": "console.environment.badge",
    "STYLES": [lambda request: static("console/console.css")],
    "SCRIPTS": [lambda request: static("console/console.js")],
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "title": "Overview",
                "items": [
                    {
                        "title": "Dashboard",
                        "icon": "monitoring",
                        "link": reverse_lazy("console:index"),
                    }
                ],
            },
            {
                "title": "Customers",
                "separator": True,
                "items": [
                    _item(
                        "Tenants",
                        "apartment",
                        "tenants_tenant_changelist",
                        "tenants.view_tenant",
                    ),
                    _item(
                        "Onboard a tenant",
                        "person_add",
                        "onboarding",
                        "tenants.add_tenant",
                    ),
                    _item("Plans", "speed", "tenants_plan_changelist", "tenants.view_plan"),
                ],
            },
            {
                "title": "Places",
                "separator": True,
                "items": [
                    _item("Regions", "public", "regions_region_changelist", "regions.view_region"),
                    _item("Cells", "database", "regions_cell_changelist", "regions.view_cell"),
                    _item("Drills", "bolt", "drills", "regions.view_region"),
                ],
            },
            {
                "title": "Records",
                "separator": True,
                "items": [
                    _item(
                        "Operations",
                        "pending_actions",
                        "tenants_operation_changelist",
                        "tenants.view_operation",
                    ),
                    _item(
                        "Migrations",
                        "upgrade",
                        "tenants_rollout_changelist",
                        "tenants.view_rollout",
                    ),
                    _item(
                        "Audit trail",
                        "history",
                        "tenants_auditentry_changelist",
                        "tenants.view_auditentry",
                    ),
                ],
            },
            {
                "title": "Access",
                "separator": True,
                "items": [
                    _item("Operators", "badge", "auth_user_changelist", "auth.view_user"),
                    _item("Groups", "groups", "auth_group_changelist", "auth.view_group"),
                ],
            },
        ],
    },
}
