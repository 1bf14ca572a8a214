"""The command line in this process: what it said and how it ended."""

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

from baa_core.__main__ import main


class Ran(NamedTuple):
    """How a command ended; `new_files`: those it made, where a test looked."""

    status: int
    output: str
    errors: str
    new_files: frozenset[str] = frozenset()


def run(*arguments: str | Path) -> Ran:
    """Run one command line; no traceback may show."""
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = int(end.code or 0)
    assert "Traceback" not in output.getvalue() + errors.getvalue()
    return Ran(status, output.getvalue(), errors.getvalue())
