"""How far a loop is, for people at a terminal.

Before: `seed`. After: `methods`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """The items, with a progress bar on a terminal: tqdm's if it is installed, else one that counts. total: how many, if known.

    >>> list(progress("abc", "letters", 3))
    ['a', 'b', 'c']
    """
    if not sys.stderr.isatty():
        yield from items
        return
    try:
        from tqdm import tqdm
    except ImportError:
        start, of = time.perf_counter(), f"/{total}" if total else ""
        for count, item in enumerate(items, 1):
            yield item
            print(f"\r{what}: {count}{of}, {time.perf_counter() - start:.0f} s", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        return
    yield from tqdm(items, desc=what, total=total)
