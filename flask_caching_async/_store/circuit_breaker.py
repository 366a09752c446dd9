"""A circuit breaker: what keeps a dead backend from costing more than a few milliseconds.

The pattern is Michael Nygard's ("Release It!", 2007), with one difference: the probe that finds out
whether the backend is back is made by a thread of the breaker, never by a visitor, who would have
to wait for its timeout.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

__all__ = ["CircuitBreaker"]

log = logging.getLogger("flask_caching_async")


class CircuitBreaker:
    """Opens after several failures in a row, and closes when a probe succeeds.

    :param threshold: how many failures; 0 never opens.
    :param reset: seconds from one probe to the next.
    :param probe: asks the backend something cheap, and raises if it does not answer.
    :param closed: called when the backend answers again, before any other call uses it.
    :param changed: told of each change of state: whether the breaker is open now.
    """

    def __init__(
        self,
        threshold: int,
        reset: float,
        probe: Callable[[], object],
        closed: Callable[[], object],
        changed: Callable[[bool], object] = lambda is_open: None,
    ) -> None:
        self.threshold, self.reset = threshold, reset
        self._probe, self._closed, self._changed = probe, closed, changed
        self._row = 0
        self._prober: threading.Thread | None = None
        #: Whether the backend is to be left alone.
        self.is_open = False

    def worked(self) -> None:
        """An operation succeeded."""
        self._row = 0

    def failed(self) -> None:
        """An operation failed."""
        self._row += 1
        if self.threshold and self._row >= self.threshold and not self.is_open:
            self.is_open = True
            self._changed(True)
            self.watch()

    def watch(self) -> None:
        """Make sure that a thread looks for the backend; a forked child has lost its parent's."""
        prober = self._prober
        if prober is None or not prober.is_alive():
            self._prober = threading.Thread(
                target=self._look_for_it, name="flask-caching-async-breaker", daemon=True
            )
            self._prober.start()

    def _look_for_it(self) -> None:
        began = time.monotonic()
        while self.is_open and self._prober is threading.current_thread():
            time.sleep(max(0.0, began + self.reset - time.monotonic()))
            began = time.monotonic()
            try:
                self._probe()
                self._closed()
            except Exception as error:
                log.debug("the backend does not answer yet: %s: %s", type(error).__name__, error)
            else:
                self._changed(False)  # first: whoever sees that it is closed finds it in the log
                self._row, self.is_open = 0, False
