"""Code that comes in between: at any step of a call, in the same thread, as handlers do.

A signal handler runs between two instructions of the main thread, a ``__del__`` wherever the
garbage collector runs or the last reference goes. Here a trace function stands for both, which can
be told at which step of a call to run something.
"""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import flask_caching_async
from support.waiting import PATIENCE

#: Whose steps count: ours, and those of the standard library that may hold a lock of ours.
OURS = str(Path(flask_caching_async.__file__).parent)
STANDARD = {Path(threading.__file__).parent / name for name in ("threading.py", "weakref.py")}


class Interrupt:
    """Runs a handler once, at one step of a call.

    :param handler: what comes in between; its own steps do not count.
    :param at: at which step, counted from 0.
    :param opcodes: whether each instruction is a step, or each line.
    :param raises: whether what the handler raises is raised at that step.
    """

    def __init__(
        self, handler: Callable[[], object], at: int, opcodes: bool = False, raises: bool = False
    ) -> None:
        self.handler, self.at, self.raises = handler, at, raises
        self._event = "opcode" if opcodes else "line"
        self._left = at
        #: Where it came in between, if it did: the call may have had fewer steps.
        self.where = ""
        #: What it raised.
        self.error: BaseException | None = None

    def run(self, call: Callable[[], Any]) -> Any:
        """What the call returns."""
        threading.Thread(target=lambda: None).start()  # whatever is imported for the first one is
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            return call()
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, event: str, argument: object) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(OURS) and Path(name) not in STANDARD:
            return None
        frame.f_trace_opcodes = self._event == "opcode"
        return self._step

    def _step(self, frame: FrameType, event: str, argument: object) -> Any:
        if self.raises and self._is_with(frame):
            return self._step
        if event == self._event and not self.where:
            if self._left == 0:
                code = frame.f_code
                self.where = f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name}"
                self._handle()
            self._left -= 1
        return self._step

    def _is_with(self, frame: FrameType) -> bool:
        # The end of a ``with`` is a step of its first line. What is raised there is raised before
        # the lock is given back, and in no program of Python can anything be done about that.
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        return line.lstrip().startswith("with ")

    def _handle(self) -> None:
        # A trace function is not traced itself.
        try:
            self.handler()
        except BaseException as error:
            self.error = error
            if self.raises:
                raise


def ended(call: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """What a call returns, made in a thread of its own.

    :raises AssertionError: if it does not end.
    """
    done: list[Any] = []

    def run() -> None:
        try:
            done.append((call(), None))
        except BaseException as error:
            done.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(patience)
    assert done, "it hangs"
    result, error = done[0]
    if error is not None:
        raise error
    return result
