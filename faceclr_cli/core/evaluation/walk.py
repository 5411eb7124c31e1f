"""A walk over pairs of photographs, in their order, while those that come next are being read."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from queue import Empty, Queue

from faceclr_cli.core.datasets.pairs import Pair
from faceclr_cli.core.evaluation.pictures import BATCH, Picture, Pictures

_AHEAD = 2 * BATCH


def walk(pairs: Iterable[Pair], pictures: Pictures, *, patient: bool) -> Iterator[tuple[Pair, Picture, Picture]]:
    """Gives each pair with what became of its photographs.

    Args:
        pairs: May block: whoever writes them may wait for a verdict before the next.
        pictures: Reads and embeds.
        patient: Never give a pair before enough are known to fill a batch, so that the numbers don't depend on time.
    """
    arriving: Queue[Pair | Exception | None] = Queue(_AHEAD)
    leaving = threading.Event()
    # A daemon, since nobody can wake a thread that waits for standard input.
    threading.Thread(target=_bring, args=(pairs, arriving, leaving), name="pairs", daemon=True).start()
    try:
        yield from _walk(arriving, pictures, patient)
    finally:
        leaving.set()
        while not arriving.empty():
            arriving.get_nowait()  # It may wait for room.


def _walk(
    arriving: Queue[Pair | Exception | None], pictures: Pictures, patient: bool
) -> Iterator[tuple[Pair, Picture, Picture]]:
    window: deque[Pair | Exception | None] = deque()
    while True:
        while len(window) < _AHEAD and not (window and not isinstance(window[-1], Pair)):
            try:
                item = arriving.get(block=patient or not window)
            except Empty:
                break
            if isinstance(item, Pair):
                pictures.ask(item.a)
                pictures.ask(item.b)
            window.append(item)
        pair = window.popleft()
        if isinstance(pair, Exception):
            raise pair
        if pair is None:
            return
        yield pair, pictures.fetch(pair.a, patient=patient), pictures.fetch(pair.b, patient=patient)


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
