"""How much memory a device has, before anything is loaded onto it."""

from __future__ import annotations

from dataclasses import dataclass

GIGABYTE = 1e9


@dataclass(frozen=True)
class DeviceMemory:
    """The whole memory of what a model would be loaded onto, in GB of 10^9 bytes; `device` for messages."""

    gigabytes: float
    device: str


def device_memory(device: str) -> DeviceMemory:
    """Return the memory behind `--device`: of all GPUs for "auto", of one for "cuda:1", else of the machine.

    A device that is not there counts as none; loading says so in its own words.
    """
    if device == "cpu":
        return _machine()
    import torch

    if device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        found = range(torch.cuda.device_count())
        _, _, index = device.partition(":")
        chosen = [i for i in found if not index or str(i) == index]
        if device == "cuda":
            chosen = chosen[:1]
        total = sum(torch.cuda.get_device_properties(i).total_memory for i in chosen)
        count = len(chosen)
        return DeviceMemory(total / GIGABYTE, "the GPU" if count == 1 else f"the {count} GPUs")
    return _machine()  # Apple's GPU shares the machine's memory


def has_gpu() -> bool:
    """Tell whether CUDA has a device here."""
    import torch

    return torch.cuda.is_available()


def _machine() -> DeviceMemory:
    import psutil

    return DeviceMemory(psutil.virtual_memory().total / GIGABYTE, "this machine")
