"""Layers of networks computed by numpy and scipy, and networks of random numbers to compare."""

from __future__ import annotations

import numpy as np
import torch
from scipy.signal import correlate

from cscsr.networks import build


def random_network(name: str, **arguments):
    torch.manual_seed(0)
    network = build(name, **arguments).double()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.normal_(std=0.1)
    return network


def output_of(network, x: np.ndarray, scale: int) -> np.ndarray:
    """What a network makes of (C, H, W), in float32 as in a solve."""
    with torch.no_grad():
        return network.float()(torch.from_numpy(x).float()[None], scale)[0].numpy()


def tensors_of(network) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().astype(float) for name, tensor in network.state_dict().items()}


def layer(x: np.ndarray, tensors: dict[str, np.ndarray], name: str, groups: int = 1) -> np.ndarray:
    """A zero-padded convolution of (C, H, W), by scipy."""
    bank, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    share = len(bank) // groups
    planes = []
    for index, (filters, offset) in enumerate(zip(bank, bias, strict=True)):
        start = index // share * len(filters)
        inputs = x[start : start + len(filters)]
        taps = zip(inputs, filters, strict=True)
        planes.append(sum(correlate(plane, each, "same") for plane, each in taps) + offset)
    return np.stack(planes)


def leaky(x: np.ndarray, slope: float) -> np.ndarray:
    return np.where(x > 0, x, slope * x)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def shuffled(x: np.ndarray, factor: int) -> np.ndarray:
    """(C·f², H, W) as (C, f·H, f·W)."""
    channels, height, width = len(x) // factor**2, *x.shape[1:]
    x = x.reshape(channels, factor, factor, height, width).transpose(0, 3, 1, 4, 2)
    return x.reshape(channels, factor * height, factor * width)


def transposed(
    x: np.ndarray, bank: np.ndarray, bias: float | np.ndarray = 0, stride: int = 2
) -> np.ndarray:
    """A transposed convolution, bank (in, out, k, k): each pixel adds a filter."""
    side = bank.shape[-1]
    height, width = x.shape[1:]
    rows, columns = (stride * (n - 1) + side for n in (height, width))
    output = np.zeros((bank.shape[1], rows, columns))
    for row in range(height):
        for column in range(width):
            added = np.tensordot(x[:, row, column], bank, 1)
            top, left = stride * row, stride * column
            output[:, top : top + side, left : left + side] += added
    return output + np.reshape(bias, (-1, 1, 1))
