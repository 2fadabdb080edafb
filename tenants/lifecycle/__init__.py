"""What can be done with a tenant: one verb a module."""

from tenants.lifecycle.add_region import add_region
from tenants.lifecycle.create_cell import create_cell
from tenants.lifecycle.erase import erase
from tenants.lifecycle.expel_region import expel_region, foresee_expulsion
from tenants.lifecycle.fill_pools import Tended, drain_pools, fill_pools
from tenants.lifecycle.issue_token import issue_token
from tenants.lifecycle.move import move, preview_move
from tenants.lifecycle.provision import provision
from tenants.lifecycle.remove_region import remove_region
from tenants.lifecycle.resume import resume
from tenants.lifecycle.set_policy import set_policy
from tenants.lifecycle.suspend import suspend

__all__ = [
    "Tended",
    "add_region",
    "create_cell",
    "drain_pools",
    "erase",
    "expel_region",
    "fill_pools",
    "foresee_expulsion",
    "issue_token",
    "move",
    "preview_move",
    "provision",
    "remove_region",
    "resume",
    "set_policy",
    "suspend",
]
