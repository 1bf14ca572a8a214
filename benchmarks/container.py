"""The Dockerfile, performed step by step in a clean folder: does the page run as it will in its container?

    python -m benchmarks.container            as root: another user, no network, a folder that cannot be written

No docker is needed, and nothing is installed: that the requirements are met by this Python's packages is checked
instead. Every other line is performed: files copied as `.dockerignore` lets them, environment, user, health check,
command. Then one drawn hand is assessed twice. Prints the seconds from the start to the first healthy answer, to the
first estimate and for the second one, and the page's peak memory. Ends with status 1 if a step fails.

Without root the page runs as whoever asks, with the network as it is; the last line says so.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

from .load import ask, hands

REPOSITORY = Path(__file__).resolve().parents[1]
START_SECONDS = 300.0
STOP_SECONDS = 60.0
_INTERFACE_FLAGS = 0x8914  # SIOCSIFFLAGS of Linux
_UP_AND_RUNNING = 0x1 | 0x40


class StepFailed(Exception):
    """A line of the Dockerfile that cannot be performed, or does not do what it should."""


@dataclass
class Image:
    """What the lines of a Dockerfile have made so far.

    Attributes:
        root: the folder that stands for the container's root.
        workdir: inside it.
        environment, user, health, command: as stated.
    """

    root: Path
    workdir: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: int = 0
    health: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


def lines_of(dockerfile: str) -> Iterator[tuple[str, str]]:
    """Instruction and the rest of each line; comments and continuation lines resolved."""
    text = re.sub(r"\\\n", " ", "\n".join(line for line in dockerfile.splitlines() if not line.startswith("#")))
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, _, rest = line.partition(" ")
        yield instruction.upper(), rest.strip()


def tracked() -> list[str]:
    """Files of the checkout that a builder gets: tracked, and let through by `.dockerignore`."""
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    rules = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]

    def sent(path: str) -> bool:
        out = False
        for rule in rules:
            pattern = rule.lstrip("!")
            inside = path.startswith(pattern + "/") or f"/{pattern.removeprefix('**/')}/" in f"/{path}" * (
                "**/" in rule
            )
            if inside or fnmatch(path, pattern):
                out = not rule.startswith("!")
        return not out

    return [path for path in listed.stdout.splitlines() if sent(path) and (REPOSITORY / path).is_file()]


def perform(instruction: str, rest: str, image: Image) -> str:
    """One line of the Dockerfile; what was done, in words.

    Raises:
        StepFailed: it cannot be done, or is not known here.
    """
    if instruction == "FROM":
        wanted = re.match(r"python:(\d+)\.(\d+)", rest)
        if wanted is None or tuple(map(int, wanted.groups())) != sys.version_info[:2]:
            raise StepFailed(f"the image is {rest}, but this is Python {sys.version_info[0]}.{sys.version_info[1]}")
        return f"this Python {sys.version.split()[0]} stands for it"
    if instruction == "ENV":
        name, _, value = rest.partition("=")
        image.environment[name] = value
        return "set"
    if instruction == "WORKDIR":
        image.workdir = image.root / rest.lstrip("/")
        image.workdir.mkdir(parents=True)
        return "made"
    if instruction == "COPY":
        return f"{_copy(rest.split(), image)} files"
    if instruction == "RUN" and "pip install" in rest and "-r requirements.txt" in rest:
        return f"{_check_requirements(image.workdir / 'requirements.txt')} requirements are met here"
    if instruction == "USER":
        image.user = int(rest.split(":")[0])
        if image.user == 0:
            raise StepFailed("the user is root")
        return "not root"
    if instruction == "EXPOSE":
        return f"port {int(rest)}"
    if instruction == "HEALTHCHECK":
        image.health = json.loads(rest[rest.index("CMD") + 3 :])
        return "kept"
    if instruction in ("ENTRYPOINT", "CMD"):
        image.command += json.loads(rest)
        return "kept"
    raise StepFailed("this check does not know how to perform it")


def _copy(arguments: list[str], image: Image) -> int:
    *sources, target = arguments
    files = tracked()
    count = 0
    for source in sources:
        found = [path for path in files if path == source or path.startswith(source + "/")]
        if not found:
            raise StepFailed(f"{source} is not in the checkout, or .dockerignore keeps it out")
        for path in found:
            inner = path if path == source and target.endswith("/") else path.removeprefix(source).lstrip("/")
            to = image.workdir / target / inner
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / path, to)
        count += len(found)
    return count


def _check_requirements(path: Path) -> int:
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    for line in lines:
        wanted = Requirement(line)
        try:
            here = version(wanted.name)
        except PackageNotFoundError:
            raise StepFailed(f"{wanted.name} is not installed") from None
        if not wanted.specifier.contains(here.split("+")[0]):
            raise StepFailed(f"{wanted.name} is {here}, not {wanted.specifier}")
    return len(lines)


def cut_network() -> bool:
    """Leave this process and what it starts with the loopback interface alone; False where that is not allowed."""
    try:
        os.unshare(os.CLONE_NEWNET)  # type: ignore[attr-defined]  # from Python 3.12 on
    except AttributeError:
        import ctypes

        if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:
            return False
    except OSError:
        return False
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _INTERFACE_FLAGS, struct.pack("16sh14x", b"lo", _UP_AND_RUNNING))
    return True


def as_user(user: int, command: list[str]) -> list[str]:
    """The command as another user, who may read everything and write nothing of it; unchanged without root.

    The container's Python is readable for all; this machine's may lie in the home of root, hence the right to read.
    """
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        return command
    right = "+dac_read_search"
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", f"--inh-caps={right}",
            f"--ambient-caps={right}", *command]  # fmt: skip


def run(image: Image, temporary: Path) -> Mapping[str, float]:
    """Start the page, wait until it is healthy, assess a drawn hand twice, stop it; what that took.

    Raises:
        StepFailed: it does not become healthy, does not answer, writes into its folder, or leaves files behind.
    """
    inside = {"/tmp": str(temporary)}
    environment = {name: inside.get(value, value) for name, value in image.environment.items()}
    environment["PATH"] = os.environ["PATH"]
    before = _listed(image.root)

    def of_the_image(command: list[str]) -> list[str]:
        return as_user(image.user, [sys.executable if part == "python" else part for part in command])

    began = time.monotonic()
    with (temporary.parent / "log.txt").open("w") as log:
        page = subprocess.Popen(
            of_the_image(image.command), cwd=image.workdir, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        while subprocess.run(of_the_image(image.health), env=environment, capture_output=True, check=False).returncode:
            if page.poll() is not None or time.monotonic() - began > START_SECONDS:
                raise StepFailed(f"the page does not become healthy: {log_end(temporary)}")
            time.sleep(0.5)
        healthy = time.monotonic() - began
        name, content, sex = hands()[0]
        url = "http://127.0.0.1:7860"
        ask(url, name, content, sex)
        first = time.monotonic() - began
        again = time.monotonic()
        ask(url, name, content, sex)
        second = time.monotonic() - again
        status = Path(f"/proc/{page.pid}/status").read_text()
        peak = int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1e6
        user = int(re.findall(r"Uid:\s+(\d+)", status)[0])
    finally:
        page.send_signal(signal.SIGTERM)
        try:
            page.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            page.kill()
            raise StepFailed("the page does not end when it is asked to") from None
    if _listed(image.root) != before:
        raise StepFailed("the page wrote into its own folder")
    if left := [path.name for path in temporary.rglob("*") if path.is_file() and path.stat().st_size]:
        raise StepFailed(f"the page left files behind: {left[:5]}")
    return {"healthy": healthy, "first": first, "second": second, "peak_gb": peak, "user": user}


def log_end(temporary: Path) -> str:
    """The last lines of what the page logged."""
    return (temporary.parent / "log.txt").read_text()[-600:]


def _listed(root: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in root.rglob("*")}


def main() -> int:
    """Perform the Dockerfile and print what was found."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    cut = cut_network()
    with tempfile.TemporaryDirectory(prefix="container-") as folder:
        Path(folder).chmod(0o755)
        image = Image(Path(folder) / "root", Path(folder) / "root")
        temporary = Path(folder) / "tmp"
        temporary.mkdir()
        temporary.chmod(0o777)
        for instruction, rest in lines_of((REPOSITORY / "Dockerfile").read_text(encoding="utf-8")):
            try:
                done = perform(instruction, rest, image)
            except StepFailed as error:
                print(f"{instruction} {rest}: {error}")
                return 1
            print(f"{instruction} {rest[:90]}: {done}")
        try:
            took = run(image, temporary)
        except StepFailed as error:
            print(str(error))
            return 1
    print(
        f"From the start {took['healthy']:.1f} s to the first healthy answer, {took['first']:.1f} s to the first "
        f"estimate; {took['second']:.1f} s for the second. Peak memory {took['peak_gb']:.2f} GB."
    )
    print(f"Ran as user {took['user']:.0f}, with {'no network' if cut else 'the network as it is'}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
