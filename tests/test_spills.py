"""No inner loop of a micro-kernel keeps an accumulator on the stack: the built module is disassembled, and looked at.

A spilled accumulator is a store and a load in every step of the sum. Results stay right and nothing but speed shows it;
compilers begin to spill when one register is missing. Whole-loop analysis needs no names of functions, which a stripped
module lacks: an inner loop is the shortest way in the flow graph from a multiplication back to itself.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import deque

import pytest

from nanoquant import _native

INSTRUCTION = re.compile(r"^ *([0-9a-f]+):\t(?:\{\w+\} )?(\S+) *([^#<\n]*)", re.MULTILINE)
MULTIPLICATIONS = {"vpdpbusd", "vpmaddwd", "vpmaddubsw"}
VECTOR_ON_STACK = re.compile(
    r"^(?!vpbroadcast)(?=.*[xyz]mm)(?=.*(\(%rsp\)|-0x[0-9a-f]+\(%rbp\)))"
)  # with an index: an array; broadcast: a scalar; above rbp, where a frame has nothing: a pointer

Instruction = tuple[int, str, str]  # address, mnemonic, operands


def parse(listing: str) -> list[Instruction]:
    return [(int(address, 16), name, operands.strip()) for address, name, operands in INSTRUCTION.findall(listing)]


def successors(code: list[Instruction]) -> list[list[int]]:
    """For each instruction, the indices of those that may follow it."""
    index = {address: i for i, (address, _, _) in enumerate(code)}
    following = []
    for i, (_, name, operands) in enumerate(code):
        after = [] if name.startswith(("jmp", "ret")) or i + 1 == len(code) else [i + 1]
        if name.startswith("j") and (target := re.match(r"[0-9a-f]+", operands)) and int(target[0], 16) in index:
            after.append(index[int(target[0], 16)])
        following.append(after)
    return following


def shortest_cycle(following: list[list[int]], start: int, longest: int = 1000) -> list[int]:
    """The instructions on the shortest way from `start` back to it; none if there is no way shorter than `longest`."""
    previous, queue = {start: -1}, deque([(start, 0)])
    while queue:
        here, steps = queue.popleft()
        for after in following[here]:
            if after == start:
                cycle = [here]
                while cycle[-1] != start:
                    cycle.append(previous[cycle[-1]])
                return cycle[::-1]
            if after not in previous and steps < longest:
                previous[after] = here
                queue.append((after, steps + 1))
    return []


def inner_loops(code: list[Instruction]) -> list[list[int]]:
    """The loops around multiplications, as lists of instructions' indices."""
    following, seen, loops = successors(code), set(), []
    for i, (_, name, _) in enumerate(code):
        if name in MULTIPLICATIONS and i not in seen and (loop := shortest_cycle(following, i)):
            seen.update(loop)
            loops.append(loop)
    return loops


def spills(code: list[Instruction]) -> list[str]:
    """The instructions in inner loops that move a vector to or from the stack."""
    return [
        f"{code[i][0]:x}: {code[i][1]} {code[i][2]}"
        for loop in inner_loops(code)
        for i in loop
        if VECTOR_ON_STACK.search(f"{code[i][1]} {code[i][2]}")
        and ("%rsp" in code[i][2] or not any(code[j][2].endswith(",%rbp") for j in loop))  # a pointer that moves
    ]


KEPT = """
 10:\tvpbroadcastd (%rax),%ymm3
 14:\tvpmaddwd %ymm1,%ymm3,%ymm2
 18:\tvpaddd %ymm2,%ymm0,%ymm0
 1c:\tadd    $0x4,%rax
 20:\tcmp    %rax,0x10(%rsp)
 24:\tjne    10 <kernel+0x10>
 28:\tvmovdqa %ymm0,0x20(%rsp)
 2c:\tret
"""
SPILLED = KEPT.replace("vpaddd %ymm2,%ymm0,%ymm0", "vpaddd 0x40(%rsp),%ymm2,%ymm0")


def test_the_check_can_fail() -> None:
    """A pointer on the stack is no spill, nor a store after the loop; an accumulator on the stack is one."""
    assert [len(loop) for loop in inner_loops(parse(KEPT))] == [6]
    assert spills(parse(KEPT)) == []
    assert spills(parse(SPILLED)) == ["18: vpaddd 0x40(%rsp),%ymm2,%ymm0"]
    assert len(spills(parse(SPILLED.replace("0x40(%rsp)", "-0x40(%rbp)")))) == 1
    assert spills(parse(SPILLED.replace("0x40(%rsp)", "0x40(%rbp)"))) == []
    assert spills(parse(SPILLED.replace("0x40(%rsp)", "-0x40(%rbp)").replace("$0x4,%rax", "$0x4,%rbp"))) == []


def test_no_inner_loop_spills() -> None:
    if shutil.which("objdump") is None:
        pytest.skip("objdump (binutils) is not installed")
    command = ["objdump", "-d", "--no-show-raw-insn", _native.__file__]
    code = parse(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    if not any(name in MULTIPLICATIONS for _, name, _ in code):
        pytest.skip("this module holds no x86 kernels")
    assert len(inner_loops(code)) > 100
    assert spills(code) == []
