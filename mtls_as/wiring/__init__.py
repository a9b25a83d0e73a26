"""The composition root: the only room that names every concrete class.

    serving → reload → node → generation → listeners, foundation

What stands as long as a process runs is its `Foundation`. What is read from the configuration and the files it names is
a `Generation`: built and checked whole before any socket is bound, and replaced whole by a reload.
"""

from mtls_as.wiring.file_watch import read_settings
from mtls_as.wiring.node import Node, open_node
from mtls_as.wiring.reload import Reloader
from mtls_as.wiring.serving import check, serve

__all__ = ["Node", "Reloader", "check", "open_node", "read_settings", "serve"]
