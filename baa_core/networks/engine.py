"""Which software computes a network's forward pass: PyTorch, or OpenVINO, which takes half the time on a CPU.

The environment variable `BAA_ENGINE` names one of `ENGINES`; `DEFAULT` if it is not set. Both compute in float32:
`python -m benchmarks` prints what each takes, `python -m benchmarks.agreement` how far their answers differ.

A method of a network marked with `on_engine` is computed by OpenVINO if the network was put on it (`put_on_engine`, as
`store` does with every network it serves) and no gradient is asked for. Gradients, training and copies with changed
parameters stay in PyTorch. So do the networks that draw outlines: rounding would decide about single pixels of a mask,
and a mask decides about every picture made with it. The graph is made from the verified weights in
memory, when it is first needed; no second file of weights is written or read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, wraps
from threading import Lock, local
from types import ModuleType
from typing import Any, Final, ParamSpec, TypeVar, cast
from weakref import WeakSet

import torch
from torch import Tensor, nn

from ..errors import EngineMissing

ENGINES: Final = ("torch", "openvino")
DEFAULT: Final = "openvino"
ATTRIBUTE: Final = "_graphs"  # of a module that was put on OpenVINO: its graphs by method and input

Given = ParamSpec("Given")
Made = TypeVar("Made")


def engine_name() -> str:
    """The engine that networks are put on.

    Raises:
        EngineMissing: `BAA_ENGINE` names none of `ENGINES`.
    """
    name = os.environ.get("BAA_ENGINE") or DEFAULT
    if name not in ENGINES:
        raise EngineMissing(f"BAA_ENGINE is '{name[:30]}'. Set it to one of: {', '.join(ENGINES)}; or leave it out.")
    return name


def engine_version() -> dict[str, str]:
    """The engine and its version, for `NetworkStore.versions`; nothing for PyTorch, which is named there anyway."""
    return {} if engine_name() == "torch" else {"openvino": str(openvino().__version__).split("-")[0]}


@lru_cache(maxsize=1)
def openvino() -> ModuleType:
    """OpenVINO, imported when the first network is put on it.

    Its import sends a note of use to its maker where the package `openvino_telemetry` is installed, as pip does. Here
    nothing is sent: that package is hidden before the import, and OpenVINO takes the empty stub it has for that case.

    Raises:
        EngineMissing: it is not installed.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # an import of it fails
    try:
        import openvino
    except ImportError as missing:
        raise EngineMissing(
            "OpenVINO, which computes the networks, is not installed. Install what requirements.txt lists, or set the "
            "environment variable BAA_ENGINE to torch, which takes twice the time."
        ) from missing
    return cast(ModuleType, openvino)


def put_on_engine(network: nn.Module) -> nn.Module:
    """The same network, its marked methods computed by the engine; for networks whose parameters stay as they are.

    Raises:
        EngineMissing: the engine is unknown or not installed.
    """
    if engine_name() != "torch":
        openvino()
        for module in network.modules():
            vars(module)[ATTRIBUTE] = _Graphs()
    return network


def put_on_torch(network: nn.Module) -> nn.Module:
    """The same network, computed by PyTorch: for copies whose parameters are changed."""
    for module in network.modules():
        vars(module).pop(ATTRIBUTE, None)
    return network


def on_engine(method: Callable[Given, Made]) -> Callable[Given, Made]:
    """A method of a module, from batches of tensors to a tensor or a named tuple of tensors, as a graph of the engine.

    The first axis of every input is the batch and may have any length; its other axes tell graphs apart.
    """

    @wraps(method)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> Made:
        module, *given = cast(tuple[Any, ...], args)
        graphs = vars(module).get(ATTRIBUTE)
        wants_gradient = torch.is_grad_enabled() and any(each.requires_grad for each in given)
        # While the graph of another method is made this one must be traced with it, or would count as a constant.
        if graphs is None or kwargs or wants_gradient or getattr(_HERE, "making", False):
            return method(*args, **kwargs)
        return cast(Made, graphs.run(method, module, given))

    return run


_MAKING: Final = Lock()  # one graph at a time: `torch.jit.trace` keeps the names of modules in a global variable
_HERE: Final = local()  # whether this thread makes one
_ALL: Final = WeakSet["_Graph"]()


def release_memory() -> None:
    """Give back what the engine's passes were computed in, as large as the largest batch so far, where none runs now.

    The next pass takes it anew, which takes no measurable time.
    """
    for graph in tuple(_ALL):
        graph.release()


class _Graphs:
    """The graphs of one module. Threads may share it; copies of the module share its parameters and so its graphs."""

    def __init__(self) -> None:
        self._made: dict[Any, _Graph] = {}

    def __deepcopy__(self, _memo: object) -> _Graphs:
        return self

    def __reduce__(self) -> tuple[type[_Graphs], tuple[()]]:
        return _Graphs, ()

    def run(self, method: Callable[..., Any], module: nn.Module, given: Sequence[Tensor]) -> Any:
        """What the method makes of these tensors."""
        key = (method.__name__, tuple(each.shape[1:] for each in given))
        graph = self._made.get(key)
        if graph is None:
            with _MAKING:
                _HERE.making = True
                try:
                    if key not in self._made:
                        self._made[key] = _Graph(method, module, given)
                finally:
                    _HERE.making = False
                graph = self._made[key]
        return graph(given)


class _Method(nn.Module):
    """A method of a module as a module of its own, for tracing."""

    def __init__(self, method: Callable[..., Any], module: nn.Module) -> None:
        super().__init__()
        self.module, self.method = module, method
        self.made: type | None = None  # of its answer, where that is a named tuple

    def forward(self, *given: Tensor) -> Any:
        made = self.method(self.module, *given)
        self.made = type(made) if isinstance(made, tuple) else None
        return made


class _Graph:
    """A method compiled for inputs of one shape; a batch of any length."""

    def __init__(self, method: Callable[..., Any], module: nn.Module, given: Sequence[Tensor]) -> None:
        ov = openvino()
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        with torch.inference_mode(False), torch.no_grad():
            examples = tuple(torch.zeros(2, *each.shape[1:]) for each in given)
            alone = _Method(method, module).eval()
            traced = torch.jit.trace(alone, examples, check_trace=False, strict=False)
            self._type = alone.made
            frontend = FrontEndManager().load_by_framework("pytorch")
            decoder = TorchScriptPythonDecoder(torch.jit.freeze(traced))  # must outlive the conversion
            model = frontend.convert(frontend.load(decoder))
        model.reshape({number: ov.PartialShape([-1, *each.shape[1:]]) for number, each in enumerate(given)})
        threads = torch.get_num_threads()
        self._model = ov.Core().compile_model(
            model,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "EXECUTION_MODE_HINT": "ACCURACY",
                "INFERENCE_PRECISION_HINT": "f32",  # on some CPUs its own choice is bfloat16
                "INFERENCE_NUM_THREADS": threads,
                "ENABLE_CPU_PINNING": False,  # several processes would be bound to the same cores
            },
        )
        self._outputs = len(self._model.outputs)
        self._idle: list[Any] = []
        _ALL.add(self)

    def release(self) -> None:
        """Give back what passes were computed in, unless one runs now."""
        with suppress(RuntimeError):  # a pass of another thread is under way
            self._model.release_memory()

    def __call__(self, given: Sequence[Tensor]) -> Any:
        """What the method makes of these tensors."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._model.create_infer_request()
        request.infer([each.detach().contiguous().numpy() for each in given], share_inputs=True)
        found = [torch.tensor(request.get_output_tensor(number).data) for number in range(self._outputs)]
        self._idle.append(request)
        return found[0] if self._type is None else self._type(*found)
