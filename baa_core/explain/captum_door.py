"""The one door to Captum, opened when the first map is made."""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from threading import Lock
from types import ModuleType

_one_import = Lock()  # two at once would leave the folder of one of them behind in the environment


def captum_attr() -> ModuleType:
    """`captum.attr`; see `_imported`."""
    with _one_import:
        return _imported()


@lru_cache(maxsize=1)
def _imported() -> ModuleType:
    """`captum.attr`, imported when it is first needed: it costs 1.5 seconds.

    The import pulls in matplotlib, which would leave a font cache in the user's home; nothing
    may be written there, so it is sent to a folder that goes again.
    """
    given = os.environ.get("MPLCONFIGDIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MPLCONFIGDIR"] = folder
        try:
            import captum.attr
        finally:
            if given is None:
                del os.environ["MPLCONFIGDIR"]
            else:
                os.environ["MPLCONFIGDIR"] = given
    module: ModuleType = captum.attr
    return module
