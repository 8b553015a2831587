"""Work in another thread that nobody has to wait for at the end."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_background(work: Callable[[], T]) -> "Future[T]":
    """What `work` gives, or raises, once it is done; where nobody asks for that, the process ends without.

    The threads of concurrent.futures are waited for when the interpreter ends; this one is not.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="ahead", daemon=True).start()
    return future
