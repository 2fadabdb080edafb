"""A write that is sent again is carried out once, and answered as it was at first.

The table is a tenant's own, like that of any app in TENANT_APPS: it is where the tenant is, goes
where the tenant goes, and commits with what the request has written.
"""
