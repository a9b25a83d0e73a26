"""`GET /status/{list}` and `GET /status`: status lists, and where they are (draft-ietf-oauth-status-list §8, §9)."""

import hashlib
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from werkzeug.exceptions import NotFound

from mtls_as.http.answers import Answer, json_answer, text_answer
from mtls_as.rfc.status_list import MEDIA_TYPE, aggregation
from mtls_as.server.status_lists import PUBLISH_SECONDS, StatusLists

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,14}|0")
# Caches on the way add to the age of a list, which counts from its `iat`: so they get no more than the server itself.
# Anybody may read a list, browsers too (§8.1).
_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": f"public, max-age={PUBLISH_SECONDS:.0f}",
    "Access-Control-Allow-Origin": "*",
}


async def answer_status_list_request(scope: Mapping[str, Any], lists: StatusLists) -> Answer:
    """One list, by the last part of the path; 304 where the caller has this very one. Raises `NotFound`."""
    number = scope["path"].rpartition("/")[2]
    token = await lists.token(int(number)) if _NUMBER.fullmatch(number) else None
    if token is None:
        raise NotFound
    tag = f'"{hashlib.sha256(token.encode("ascii")).hexdigest()[:32]}"'
    headers = {**_HEADERS, "ETag": tag}
    if tag.encode("ascii") in _known_tags(scope):
        return Answer(status=HTTPStatus.NOT_MODIFIED, headers=headers, body=b"")
    return text_answer(token, content_type=MEDIA_TYPE, headers=headers)


async def answer_aggregation_request(lists: StatusLists) -> Answer:
    """Where all lists are (§9.3)."""
    return json_answer(aggregation(await lists.uris()), headers=_HEADERS)


def _known_tags(scope: Mapping[str, Any]) -> set[bytes]:
    values = (value for name, value in scope["headers"] if name == b"if-none-match")
    return {tag.strip().removeprefix(b"W/") for value in values for tag in value.split(b",")}
