"""One daemon thread that runs calls one after the other.

A ``ThreadPoolExecutor``'s threads are joined when the interpreter ends, so a commit that waits for
a broker that is gone would hold up the exit of a worker that was told to stop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

_Call = tuple[Future[None], Callable[..., None], tuple[Any, ...]]


class Background:
    """Runs calls in the order of :meth:`submit`, in a thread named ``name``."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, function: Callable[..., None], *args: Any) -> Future[None]:
        """Run ``function(*args)``; the future has its exception, if it raises one."""
        future: Future[None] = Future()
        self._calls.put((future, function, args))
        return future

    def stop(self) -> None:
        """End the thread behind the calls that were submitted. Does not wait."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function, args = call
            try:
                function(*args)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(None)
            del call, future, function, args  # keep no batch alive while idle
