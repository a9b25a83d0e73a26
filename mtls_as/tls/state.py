"""What a connection is doing."""

import enum
from typing import Final


class State(enum.Enum):
    """What the connection is waiting for, which decides its time-out."""

    HANDSHAKE = enum.auto()
    HEAD = enum.auto()
    """A request head, complete within `Timeouts.request_head` whatever arrives meanwhile."""
    BUSY = enum.auto()
    """A request is in the works."""
    IDLE = enum.auto()
    CLOSING = enum.auto()
    """What is left to send is being sent."""
    LINGERING = enum.auto()
    """All is sent; what the client still sends is discarded: a reset would take the answer away from it."""
    LOST = enum.auto()


# Looked through by identity, where a set would hash its members, which enumerations do in Python.
WITHOUT_REQUEST: Final = (State.HEAD, State.IDLE)
OVER: Final = (State.CLOSING, State.LINGERING, State.LOST)
