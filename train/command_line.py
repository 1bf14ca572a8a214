"""What the commands of `train` share: a problem is said in one sentence, a result is kept as JSON and as Markdown."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

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


def write_result(folder: Path, name: str, document: Any, text: str) -> None:
    """`name.json` and `name.md` in a folder, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (folder / f"{name}.md").write_text(text, "utf-8")
