"""Ctrl-C, where it is how a command is meant to end."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType

__all__ = ["Repetition"]


class Repetition:
    """Something that is done again and again, until Ctrl-C.

    What is under way then is finished first: a ``KeyboardInterrupt`` amid it would be lost where
    Python can raise nothing, in a ``__del__`` or while an event loop is made. A second Ctrl-C
    does not wait.
    """

    def __init__(self) -> None:
        self.has_ended = self._is_asleep = False

    @contextlib.contextmanager
    def until_interrupted(self) -> Iterator[None]:
        """Within, Ctrl-C ends the repetition; in another thread than the main one, as ever."""
        try:
            before = signal.signal(signal.SIGINT, self._interrupt)
        except ValueError:  # not the main thread, which alone is told of signals
            before = None
        try:
            yield
        except KeyboardInterrupt:
            self.has_ended = True
        finally:
            if before is not None:
                signal.signal(signal.SIGINT, before)

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        if self._is_asleep or self.has_ended:
            raise KeyboardInterrupt
        self.has_ended = True

    def pause(self, seconds: float) -> None:
        """Sleep.

        :raises KeyboardInterrupt: if it is ended meanwhile.
        """
        self._is_asleep = True
        if not self.has_ended:
            time.sleep(seconds)
        self._is_asleep = False
