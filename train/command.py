"""What every command of `train` does with a problem: say it in one sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps

from baa_core.errors import BoneAgeError

Main = Callable[[list[str] | None], int]


def says_problems(main: Main) -> Main:
    """A command whose `BoneAgeError` becomes one line on standard error and exit status 1."""

    @wraps(main)
    def run(arguments: list[str] | None = None) -> int:
        try:
            return main(arguments)
        except BoneAgeError as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return 1

    return run
