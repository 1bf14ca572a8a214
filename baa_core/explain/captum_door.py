"""The one door to Captum, opened when the first map is made."""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from types import ModuleType


@lru_cache(maxsize=1)
def captum_attr() -> ModuleType:
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
