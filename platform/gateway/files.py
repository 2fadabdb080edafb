"""Serves a tenant's files on its own host: `/files/<name>` with the link's signature.

Guarantees that a link opens only the file and only on the host of the tenant that it was made
for, and that what users have uploaded can't act as a page of the site: whatever a browser would
run is downloaded instead of shown.
"""

from __future__ import annotations

import mimetypes

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import FileSystemStorage, default_storage
from django.http import FileResponse, HttpRequest, HttpResponseBase, HttpResponseRedirect

from gateway.problems import problem
from tenants.context import current_tenant
from tenants.files.links import opens
from tenants.files.places import store_of
from tenants.files.storage import checked

SHOWN = frozenset(
    {"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "text/plain"}
)


def serve(request: HttpRequest, name: str) -> HttpResponseBase:
    """GET and HEAD. A store with links of its own (S3) sends the file itself."""
    if request.method not in ("GET", "HEAD"):
        return problem("method-not-allowed", 405, "Files are read here, not written.")
    tenant = current_tenant()
    if not opens(tenant, name, request.GET.get("e", ""), request.GET.get("s", "")):
        return problem("file-link", 403, "The link has ended, or was made for another place.")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    disposition = "inline" if kind in SHOWN else "attachment"
    try:
        store = store_of(tenant)
        if not isinstance(store, FileSystemStorage):
            parameters = {"ResponseContentDisposition": disposition, "ResponseContentType": kind}
            return HttpResponseRedirect(store.url(checked(name), parameters=parameters))  # type: ignore[call-arg]
        file = default_storage.open(name)
    except (FileNotFoundError, SuspiciousFileOperation):
        return problem("not-found", 404, "Nothing is at this address.")
    response = FileResponse(
        file,
        as_attachment=disposition == "attachment",
        filename=name.rsplit("/", 1)[-1],
        content_type=kind,
    )
    response["Content-Length"] = file.size
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response["Cache-Control"] = "private, max-age=3600"
    return response
