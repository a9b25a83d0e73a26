"""JSON answers."""

import json
from collections.abc import Mapping

from quart import Response


def json_response(
    document: Mapping[str, object],
    *,
    status: int = 200,
    headers: Mapping[str, str],
    content_type: str = "application/json",
) -> Response:
    """An answer with a JSON body; every caller decides on caching in `headers`."""
    response = Response(json.dumps(document, separators=(",", ":")), status=status, content_type=content_type)
    response.headers.update(headers)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
