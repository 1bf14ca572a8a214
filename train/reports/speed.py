"""How fast a member's training would go on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from baa_core.recipes.schema import Member

from ..fit import Options, loaders, make_task


def measure_speed(member: Member, options: Options, seconds: float = 10.0) -> str:
    """Pictures a second that the loader brings, and that the training step takes, each measured alone.

    A GPU is kept busy if the first figure is the larger.
    """
    training, _ = loaders(member, options)
    task = make_task(member, None)
    device = torch.device("cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu")
    task.to(device, memory_format=torch.channels_last)
    task.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer to tell
    optimiser = torch.optim.AdamW(task.network.parameters())
    batch = [t.to(device) for t in next(iter(training))]

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = task.training_step(batch, 0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    stream, size = _endless(training), member.training.batch_size
    brought, taken = _rate(lambda: next(stream), seconds), _rate(step, seconds)
    return f"{member.name}: loader {size * brought:.0f} images/s, step {size * taken:.0f} images/s on {device.type}"


def _endless(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader


def _rate(work: Callable[[], object], seconds: float) -> float:
    """How often a second something can be done, the first few times (starting up) not counted."""
    for _ in range(3):
        work()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        work()
        count += 1
    return count / (time.perf_counter() - start)
