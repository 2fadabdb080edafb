"""What Python keeps of a tenant is that tenant's: objects, querysets, signatures.

The database guards rows; this guards what has left it. Unmodified apps put model instances into
caches, hand querysets around and sign values; used under another tenant, they raise. Django has no
hooks for it, so `install` puts a few methods around its own, once, when the apps are loaded.
"""


def install() -> None:
    """Put it in force. Safe to repeat."""
    from tenants.binding import objects, querysets, signatures

    for part in (objects, querysets, signatures):
        part.install()
