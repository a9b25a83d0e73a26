"""What a storage that does not answer becomes, wherever it was asked."""

import json

from mtls_as.http.errors import as_oauth_error, error_answer
from mtls_as.storage import DatabaseUnavailable


def test_a_silent_storage_is_503_with_the_time_to_try_again() -> None:
    """RFC 6749 §4.1.2.1 has the code, RFC 9110 §10.2.3 the header; the reason stays here."""
    error = as_oauth_error(DatabaseUnavailable("db.example: there is no connection to the database"))
    answer = error_answer(error, has_authorization_header=False)
    assert (answer.status, json.loads(answer.body)["error"]) == (503, "temporarily_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert b"db.example" not in answer.body
    assert "db.example" in error.detail
