import pytest
from django.contrib.auth.models import User
from django.test import Client

from desk.models import Ticket
from tenants.directory import TenantRecord


@pytest.fixture
def admin(acme: TenantRecord) -> Client:
    client = Client(headers={"host": "acme.localhost"})
    client.force_login(User.objects.create(username="ada", is_staff=True, is_superuser=True))
    return client


def test_an_account_of_the_tenant_can_log_in_with_its_password(acme: TenantRecord) -> None:
    User.objects.create_superuser("ada", password="a long enough password")
    client = Client(headers={"host": "acme.localhost"})
    login = "/admin/login/?next=/admin/"
    wrong = client.post(login, {"username": "ada", "password": "a wrong password"})
    assert wrong.status_code == 200
    right = client.post(login, {"username": "ada", "password": "a long enough password"})
    assert right.status_code == 302
    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize(
    "page", ["", "desk/ticket/", "desk/ticket/add/", "desk/customer/", "auth/user/", "auth/group/"]
)
def test_the_tenants_admin_shows_its_pages(admin: Client, page: str) -> None:
    assert admin.get(f"/admin/{page}").status_code == 200


def test_the_tenants_admin_knows_nothing_of_the_platform(admin: Client) -> None:
    for page in ("tenants/tenant/", "regions/cell/"):
        assert admin.get(f"/admin/{page}").status_code == 404


def test_a_ticket_can_be_made_and_deleted_in_the_admin(admin: Client) -> None:
    form = {
        "title": "From the admin",
        "status": "open",
        "priority": "low",
        "comments-TOTAL_FORMS": 0,
        "comments-INITIAL_FORMS": 0,
    }
    assert admin.post("/admin/desk/ticket/add/", form).status_code == 302
    ticket = Ticket.objects.get()
    assert ticket.title == "From the admin"
    confirmed = admin.post(f"/admin/desk/ticket/{ticket.pk}/delete/", {"post": "yes"})
    assert confirmed.status_code == 302
    assert not Ticket.objects.exists()
