"""What the program says about itself, beside the events: one line each on standard error."""

import logging


def log_diagnostics() -> None:
    """Write this program's log records of level INFO and above to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("mtls_as")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
