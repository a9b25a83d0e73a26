"""Files that hold a secret: who may be able to read them."""

import os
import stat
from typing import Final

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_MORE_THAN_READING_BY_THE_GROUP: Final = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO
_ROOT: Final = 0


def is_private(status: os.stat_result) -> bool:
    """Whether a file is closed to everybody but its owner, by its mode.

    A file of root may be readable by its group too, if this process is not root's: so systemd (`LoadCredential`)
    and Kubernetes (`fsGroup`) hand secrets to a service. libpq takes the keys of its clients by the same rule.
    """
    is_handed_over = status.st_uid == _ROOT != os.geteuid()
    return not status.st_mode & (_MORE_THAN_READING_BY_THE_GROUP if is_handed_over else _OTHERS)
