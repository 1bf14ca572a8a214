"""The one door to Captum, opened when the first map is made."""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from importlib import import_module
from threading import Lock, current_thread, main_thread
from types import ModuleType

_one_import = Lock()


def captum_attr() -> ModuleType:
    """`captum.attr`; see `_imported`."""
    with _one_import:
        return _imported()


@lru_cache(maxsize=1)
def _imported() -> ModuleType:
    """`captum.attr`, imported when it is first needed: it costs 1.5 seconds.

    The import pulls in matplotlib, which would leave a font cache in the user's home; nothing may be written there, so
    it is sent to a folder that goes again. The environment is every thread's, so only the main thread changes it: a
    program with threads calls this before it starts them, as the page does.
    """
    if current_thread() is not main_thread():
        return import_module("captum.attr")
    given = os.environ.get("MPLCONFIGDIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MPLCONFIGDIR"] = folder
        try:
            return import_module("captum.attr")
        finally:
            if given is None:
                del os.environ["MPLCONFIGDIR"]
            else:
                os.environ["MPLCONFIGDIR"] = given
