"""A walk over pairs of photographs, in their order, while those that come next are being read."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from queue import Empty, Queue

from faceclr_cli.core.datasets.pairs import Pair
from faceclr_cli.core.evaluation.pictures import BATCH, Asked, Picture, Pictures

_AHEAD = 2 * BATCH


def walk(pairs: Iterable[Pair], pictures: Pictures) -> Iterator[tuple[Pair, Picture, Picture]]:
    """Gives each pair with what became of its photographs.

    Args:
        pairs: May block: whoever writes them may wait for a verdict before the next.
        pictures: Reads and embeds. If it is patient, no pair is given before enough are known to fill a batch.
    """
    arriving: Queue[Pair | Exception | None] = Queue(_AHEAD)
    leaving = threading.Event()
    # A daemon, since nobody can wake a thread that waits for standard input.
    threading.Thread(target=_bring, args=(pairs, arriving, leaving), name="pairs", daemon=True).start()
    try:
        yield from _walk(arriving, pictures)
    finally:
        leaving.set()
        while not arriving.empty():
            arriving.get_nowait()  # It may wait for room.


def _walk(arriving: Queue[Pair | Exception | None], pictures: Pictures) -> Iterator[tuple[Pair, Picture, Picture]]:
    window: deque[tuple[Pair, Asked, Asked]] = deque()
    end: Exception | None = None
    ended = False
    while True:
        while len(window) < _AHEAD and not ended:
            try:
                item = arriving.get(block=pictures.patient or not window)
            except Empty:
                break
            if isinstance(item, Pair):
                window.append((item, pictures.ask(item.a), pictures.ask(item.b)))
            else:
                end, ended = item, True
        if not window:
            break
        pair, a, b = window.popleft()
        yield pair, pictures.fetch(a), pictures.fetch(b)
    if end is not None:
        raise end


def _bring(pairs: Iterable[Pair], to: Queue[Pair | Exception | None], leaving: threading.Event) -> None:
    # Held here, since Python aborts if it closes on its way out what a thread still reads.
    _held = sys.stdin
    try:
        for pair in pairs:
            to.put(pair)
            if leaving.is_set():
                return
        to.put(None)
    except Exception as error:  # noqa: BLE001 - raised again where somebody waits for the pair
        to.put(error)
