"""Where arrays live: the check of a device's name. Needs torch for more than the CPU."""

from __future__ import annotations

from cscsr.errors import InputError


def check_device(device: str) -> str:
    """`device`, if torch can compute there. Raises InputError for a name that is no device
    and for a GPU that is not at hand."""
    if device == "cpu":
        return device
    import torch

    count = torch.cuda.device_count()
    known = ["cpu", *(["cuda"] if count else []), *(f"cuda:{index}" for index in range(count))]
    if str(device) not in known:
        raise InputError(f"expected a device among {', '.join(known)}, got {str(device)!r}.")
    return device
