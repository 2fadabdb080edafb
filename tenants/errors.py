"""Errors of the tenants plane.

TenantsError
├── NoTenantError        tenant data was touched with no tenant in context
├── WrongTenantError     an object, token or task of one tenant was used under another
├── UnknownTenant        no tenant has this slug
├── UnknownHost          no tenant has this host name
├── KeyReused            an idempotency key came with other arguments than at first
├── PoolBusy             another process tends the pool of spares now
├── SlugTaken            another tenant has this slug or host
├── InvalidRequest       an argument makes no sense; nothing was changed
├── PolicyPending        a cell's new write policy is not in force everywhere yet
├── QuotaExceeded        a file would take more than the tenant's quota has left
├── TenantNotActive      the tenant is suspended, erased or not ready yet
├── ProvisioningFailed   onboarding stopped; the message says at which step and what remains
├── MoveFailed           a move stopped; the message says where the tenant is and what remains
├── UnknownTask          the tenant has no such task that is to be done
├── UnknownConflict      the tenant's ledger has no such entry
├── RestoreRefused       a lost value cannot be written again; nothing was changed
├── CellBusy             another process migrates the cell now
└── MigrationFailed      a migration stopped for one tenant; it is as it was before that part
"""


class TenantsError(Exception):
    """Root of all errors that the tenants plane raises."""


class NoTenantError(TenantsError):
    """Tenant data was touched with no tenant in context: enter one with `tenant_scope(...)`."""


class WrongTenantError(TenantsError):
    """An object, token or task of one tenant was used under another."""


class UnknownTenant(TenantsError):
    """No tenant has this slug."""


class UnknownHost(TenantsError):
    """No tenant has this host name."""


class KeyReused(TenantsError):
    """An idempotency key came with other arguments than at first."""


class PoolBusy(TenantsError):
    """Another process tends the pool of spares now."""


class SlugTaken(TenantsError):
    """Another tenant has this slug or host."""


class InvalidRequest(TenantsError):
    """An argument makes no sense; nothing was changed."""


class PolicyPending(TenantsError):
    """A cell's new write policy is not in force everywhere yet; the agents go on."""


class QuotaExceeded(TenantsError):
    """A file would take more than the tenant's quota has left. `what` is the limit's name."""

    def __init__(self, what: str, *, used: int, allowed: int) -> None:
        super().__init__(
            f"{used} of {allowed} {what} are in use: delete something, or raise the limit."
        )
        self.what, self.used, self.allowed = what, used, allowed


class TenantNotActive(TenantsError):
    """The tenant is suspended, erased or not ready yet."""


class ProvisioningFailed(TenantsError):
    """Onboarding stopped; the message says at which step and what remains."""


class MoveFailed(TenantsError):
    """A move stopped; the message says where the tenant is and what remains."""


class UnknownTask(TenantsError):
    """The tenant has no such task that is to be done."""


class UnknownConflict(TenantsError):
    """The tenant's ledger has no such entry in any region that answers."""


class RestoreRefused(TenantsError):
    """A lost value cannot be written again; nothing was changed."""


class CellBusy(TenantsError):
    """Another process migrates the cell now."""


class MigrationFailed(TenantsError):
    """A migration stopped for one tenant; it is as it was before that part."""
