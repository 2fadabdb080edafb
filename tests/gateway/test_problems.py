import json

from gateway.problems import TITLES, problem


def test_a_problem_document_has_the_members_of_rfc_9457() -> None:
    response = problem("no-writer", 503, "Wait.", retry_after=2, region="eu-west")
    assert response["Content-Type"] == "application/problem+json"
    assert response["Retry-After"] == "2"
    assert response["Cache-Control"] == "no-store"
    assert json.loads(response.content) == {
        "type": "urn:meridian:problem:no-writer",
        "title": TITLES["no-writer"],
        "status": 503,
        "detail": "Wait.",
        "region": "eu-west",
    }
    assert response.status_code == 503
