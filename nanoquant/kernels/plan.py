"""A plan: the calls of a whole network, recorded once and then made in one.

    layer by layer    Python C  Python C  Python C ...   Python finds its caches filled by the kernel before it
    a plan            Python C  C  C  C  C  C ...        and what lies between the layers in one block of memory

While `native.record` has a list, every prepared call that a plan can make adds its step to it.

Before: `native`. After: `nanoquant.quantization.graph`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from .native import ALIGNMENT, Step, ffi, lib, pointer, workspace


class Plan:
    """Recorded steps, from an array to an array.

    x: the C-contiguous array that the steps were recorded with; y: what they made of it. Raises LookupError if something else
    took part: a step reads what is neither x nor an earlier step's output, or y is not one's whole output.
    """

    def __init__(self, steps: Sequence[Step], x: NDArray[Any], y: NDArray[Any]) -> None:
        self.owners = [step.owner for step in steps]  # keep alive what C reads; the recorded arrays may go
        written, inputs, made = [(*_span(pointer(x)), -1)], [], []  # addresses, and the step that makes what lies there
        for number, step in enumerate(steps):
            inputs.append([_found(operand, written) for operand in (step.a, step.b)])
            own = _span(step.y)
            if any(start < own[1] and own[0] < end for start, end, _ in written):
                raise LookupError("a step writes where another has written")
            written.append((*own, number))
            made.append(own[1] - own[0])
        if not steps or (last := _found(pointer(y), written))[1] or made[last[0]] != y.nbytes or last[0] < 0:
            raise LookupError("the output is not the whole of what a step has made")
        self.workspace = _aligned(max(step.workspace for step in steps))
        offsets, self.bytes = arrange(made, [[n for n, _ in read if n >= 0] for read in inputs], self.workspace)
        self.steps = ffi.new("nq_step[]", len(steps))

        def operand(maker: int, offset: int) -> tuple[int, int]:
            if maker < 0 or maker == last[0]:
                return lib.NQ_PLACE_X if maker < 0 else lib.NQ_PLACE_Y, offset
            return lib.NQ_PLACE_MEMORY, offsets[maker] + offset

        for number, (step, read) in enumerate(zip(steps, inputs, strict=True)):
            places = [operand(*at) for at in (*read, (number, 0))]
            self.steps[number] = step.kind, step.isa, step.what, step.size, *places

    def run(self, x: NDArray[Any], y: NDArray[Any]) -> bool:
        """Makes y of x; both are like those of the constructor. False if a step refuses x, whose layer then says why."""
        memory = workspace(self.bytes)
        status = lib.nq_run(len(self.owners), self.steps, pointer(x), pointer(y), memory, self.workspace)
        return bool(status == lib.NQ_OK)


def _span(at: Any) -> tuple[int, int]:
    start = int(ffi.cast("intptr_t", at))
    return start, start + ffi.sizeof(at)


def _found(at: Any, written: list[tuple[int, int, int]]) -> tuple[int, int]:
    """Which step has made what lies at a pointer, -1 for x; and how many bytes behind its start."""
    start, end = _span(at)
    for low, high, maker in written:
        if low <= start and end <= high:
            return maker, start - low
    raise LookupError("a step reads what no step has made")


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def arrange(sizes: Sequence[int], reads: Sequence[Sequence[int]], first: int = 0) -> tuple[list[int], int]:
    """Where outputs lie in one block, each as near to its start as what is still needed allows; and the block's size.

    sizes: bytes of each step's output. reads: of which steps each step reads the outputs. first: where the first may lie.

    >>> arrange([64, 128, 64, 64], [[], [0], [1], [2, 1]])  # the third lies where the first was
    ([0, 64, 0, 192], 256)
    """
    until = list(range(len(sizes)))
    for number, read in enumerate(reads):
        for maker in read:
            until[maker] = number
    offsets: list[int] = []
    for number, size in enumerate(sizes):
        offset = first
        for low, maker in sorted((offsets[n], n) for n in range(number) if until[n] >= number):
            if offset + size <= low:
                break
            offset = max(offset, low + _aligned(sizes[maker]))
        offsets.append(offset)
    return offsets, max((offset + _aligned(size) for offset, size in zip(offsets, sizes, strict=True)), default=first)
