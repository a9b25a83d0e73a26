"""Answers are JSON in UTF-8, whatever stands in them."""

import json

import pytest

from mtls_as.http.answers import json_answer


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"name": "Zoë", "scope": ["a", "b"]}, id="beyond ASCII"),
        pytest.param({"number": 2**80, "share": 0.1, "nothing": None}, id="numbers"),
        pytest.param({"name": "\ud800"}, id="lone surrogate"),
        pytest.param({"name": '"\\\n\x7f\u2028'}, id="to be escaped"),
    ],
)
def test_a_document_comes_back_as_it_was(document: dict[str, object]) -> None:
    """Its length is that of its octets."""
    answer = json_answer(document, headers={})
    assert json.loads(answer.body.decode("utf-8")) == document
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert b", " not in answer.body
