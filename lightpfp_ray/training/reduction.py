"""The sum of a vector over processes, in pairs that tell each other what they hold.

    round k = 0, 1, ...:    x_r <- x_r + x_(r xor 2^k)    (recursive doubling)

The partners of a round add the same two vectors, so that all hold the same bits. Gloo's own
all-reduce is handed to a thread beside the caller: where each worker has one core, its threads take
the core from each other and a sum waits for some turns of the scheduler, 2 to 4 ms, for 0.5 here.
Of long vectors it sends fewer bytes, which then count for more.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

LONG = 1 << 16
"""Numbers of a vector that takes as long to send as to wait for."""


def sum_over_processes(flat: Tensor) -> Tensor:
    """Adds up a contiguous vector of each process of the default group, in place."""
    if flat.device.type != "cpu" or len(flat) > LONG:
        dist.all_reduce(flat)
        return flat
    rank, size = dist.get_rank(), dist.get_world_size()
    paired = 1 << (size.bit_length() - 1)  # processes that the rounds are made by; a power of two
    if rank >= paired:
        dist.send(flat, rank - paired)
        dist.recv(flat, rank - paired)
        return flat
    other = torch.empty_like(flat)
    if rank + paired < size:
        dist.recv(other, rank + paired)
        flat += other
    for distance in (1 << k for k in range(paired.bit_length() - 1)):
        _exchange(flat, other, rank ^ distance)
        flat += other
    if rank + paired < size:
        dist.send(flat, rank + paired)
    return flat


def _exchange(own: Tensor, other: Tensor, partner: int) -> None:
    under_way = (dist.irecv(other, partner), dist.isend(own, partner))
    for each in under_way:
        each.wait()
