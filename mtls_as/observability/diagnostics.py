"""What the program says about itself, beside the events: one line each on standard error, as text or as JSON."""

import logging
from typing import Final

from mtls_as.observability.event_lines import event_line

_TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_diagnostics(form: str = "text") -> None:
    """Write this program's log records of level INFO and above to standard error, as `text` or as `json`."""
    handler = logging.StreamHandler()
    handler.setFormatter(JSONFormatter() if form == "json" else logging.Formatter(_TEXT))
    logger = logging.getLogger("mtls_as")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


class JSONFormatter(logging.Formatter):
    """A record as one line of JSON, escaped and cut like those of the event log; a traceback is one more member."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        members: dict[str, object] = {
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            # Of a long one the end tells more than the beginning.
            members["traceback"] = self.formatException(record.exc_info).splitlines()[-20:]
        return event_line(record.created, members).decode("ascii")
