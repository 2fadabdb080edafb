"""The help desk's JSON API at `/api/`: OpenAPI at `/api/openapi.json`, a page at `/api/docs`.

Guarantees a problem document for every refusal. What the database refuses (a taken e-mail
address, a lost lease) is left to the platform's gateway.
"""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from desk.auth import TenantToken
from desk.problems import InvalidField, problem
from desk.routes import comments, conflicts, customers, limits, tickets

api = NinjaAPI(
    title="Help desk",
    version="1",
    description="The sample tenant app of Meridian.",
    auth=TenantToken(),
    urls_namespace="desk-api",
)
api.add_router("/desk/tickets", tickets.router)
api.add_router("/desk/customers", customers.router)
api.add_router("/desk/comments", comments.router)
api.add_router("/limits", limits.router)
api.add_router("/conflicts", conflicts.router)


@api.exception_handler(AuthenticationError)
def unauthorized(request: HttpRequest, error: Exception) -> HttpResponse:
    response = problem(
        "unauthorized",
        401,
        "A valid API token of this tenant is needed",
        "Send `Authorization: Bearer <token>`; `manage.py tenant token SLUG` makes one.",
    )
    response["WWW-Authenticate"] = "Bearer"
    return response


@api.exception_handler(Http404)
def not_found(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem("not-found", 404, "Not found", "No such record.")


@api.exception_handler(HttpError)
def http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return problem("bad-request", error.status_code, "The request is not valid", error.message)


@api.exception_handler(ValidationError)
def invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    fields = [
        {
            "field": ".".join(map(str, entry["loc"][-1:])),
            "message": entry["msg"].removeprefix("Value error, "),
        }
        for entry in error.errors
    ]
    return _invalid(fields)


@api.exception_handler(InvalidField)
def invalid_field(request: HttpRequest, error: InvalidField) -> HttpResponse:
    return _invalid([{"field": error.field, "message": error.message}])


def _invalid(fields: list[dict[str, str]]) -> HttpResponse:
    detail = "; ".join(f"{entry['field']}: {entry['message']}" for entry in fields)
    return problem("validation", 422, "Some fields are not valid", detail, errors=fields)
