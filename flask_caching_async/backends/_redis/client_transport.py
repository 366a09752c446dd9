"""Transports to Redis over a client: a cluster's, or one whose connections are its own business.

Such clients raise when all their connections are taken, so that these transports let no more calls
in at a time than there are connections.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias, TypeVar

from redis.exceptions import ResponseError

from ..._runtime.deadline import Deadline
from ...exceptions import BackendError
from ...typing import Coro
from .._connections.secrets import Secrets
from .._connections.slots import Slots
from .verbs import Argument, Command, RedisTransport, Reply

__all__ = ["AnyClient", "AsyncClientTransport", "ClientTransport", "Made"]

#: A client of redis-py's kind; a cluster's, a user's own class, or one that is no class of redis-py
#: at all.
AnyClient: TypeAlias = Any
#: A node of a cluster.
Node: TypeAlias = Any

R = TypeVar("R")


class Made:
    """A client that connects when it is made: by one thread, whose attempt all callers wait for.

    :param make: makes it. A cluster's asks one node after the other, however many are dead.
    :param patience: seconds that a caller waits for it; the attempt goes on.
    """

    def __init__(self, make: Callable[[], AnyClient], patience: float) -> None:
        self._make, self._patience = make, patience
        self._lock = threading.RLock()  # reentrant, for handlers
        self._attempt: Future[AnyClient] | None = None

    def get(self) -> AnyClient:
        """The client.

        :raises Exception: what making it raised; the next call tries anew.
        """
        with self._lock:
            attempt = self._attempt
            if attempt is None or (attempt.done() and attempt.exception() is not None):
                attempt = self._attempt = Future()
                threading.Thread(target=self._try, args=(attempt,), daemon=True).start()
        return attempt.result(self._patience)

    def forget(self) -> None:
        """Let the next call make a new one: this one was closed."""
        with self._lock:
            self._attempt = None

    def _try(self, attempt: Future[AnyClient]) -> None:
        try:
            attempt.set_result(self._make())
        except BaseException as error:
            attempt.set_exception(error)


class ClientTransport(RedisTransport):
    """The blocking transport over a client of redis-py's kind.

    :param make: gives the client; called when it is first needed, since that may connect.
    :param limit: how many calls there may be at a time.
    :param patience: seconds to wait until one more may be made.
    :param secrets: what no error may show; the client opens connections whenever it wants to.
    :param cluster: whether it is a cluster's.
    :param forget: called when the client was closed with the transport; ``None`` if it is not ours,
        and stays open.
    """

    def __init__(
        self,
        make: Callable[[], AnyClient],
        limit: int,
        patience: float,
        secrets: Secrets,
        cluster: bool,
        forget: Callable[[], object] | None = None,
    ) -> None:
        self._make, self._secrets, self._cluster, self._forget = make, secrets, cluster, forget
        self._lock = threading.RLock()  # reentrant, for handlers
        self._users, self._closing = 0, False
        self._slots, self._patience = Slots(limit), patience
        self._client: AnyClient = None

    @property
    def client(self) -> AnyClient:
        """The client."""
        if self._client is None:
            with self._secrets:
                self._client = self._make()
        return self._client

    async def _call(self, call: Callable[[], Reply]) -> Reply:
        """What the client answers."""
        self._slots.take(self._patience)
        with self._lock:
            self._users += 1
        try:
            with self._secrets:
                return call()
        finally:
            with self._lock:
                self._users -= 1
            if self._closing:
                self._close_unused()
            self._slots.give_back()

    async def run(self, *command: Argument, **where: Node) -> Reply:
        """One command; on ``target_nodes``, if one is named."""
        return await self._call(lambda: self.client.execute_command(*command, **where))

    async def batch(self, commands: Sequence[Command]) -> list[Reply]:
        """Several commands in one trip, or one for each node."""

        def execute() -> Reply:
            pipeline = self.client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command, **self._where(command))
            return pipeline.execute()

        answers: list[Reply] = await self._call(execute)
        return answers

    def _where(self, command: Command) -> dict[str, Node]:
        """On which node a script runs: a cluster's pipeline would ask a server for that."""
        if not self._cluster or command[0] != "EVAL":
            return {}
        return {"target_nodes": self.client.get_node_from_key(command[3])}

    async def mget(self, names: Sequence[str]) -> list[bytes | None]:
        """The values of several names, in one trip to each node."""
        if not self._cluster:
            return await super().mget(names)
        found: list[bytes | None]
        found = await self._call(lambda: self.client.mget_nonatomic(*names))
        return found

    async def told(self) -> list[Reply]:
        """What the server, or each master of a cluster, says of itself."""
        if not self._cluster:
            return await super().told()
        found: list[Reply] = []
        for node in await self._nodes():
            try:
                answer = await self.run("INFO", "server", target_nodes=node)
            except ResponseError:
                raise
            except Exception as error:  # not all of them say whose they are
                kind = type(error).__name__
                raise BackendError(f"{node.name} does not answer: {kind}: {error}") from error
            by_node = len(answer) == 1 and node.name in answer
            found.append(answer[node.name] if by_node else answer)
        return found

    async def sweep(self, pattern: str) -> None:
        """Remove all keys that match, in batches, on every node."""
        if not self._cluster:
            return await super().sweep(pattern)
        for node in await self._nodes():
            cursor = 0
            while True:
                scan = ("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
                by_node, names = await self.run(*scan, target_nodes=node)
                (cursor,) = map(int, by_node.values())  # where each node goes on
                if names:
                    await self.batch([("UNLINK", name) for name in names])
                if cursor == 0:
                    break

    async def _nodes(self) -> list[Node]:
        return list(self.client.get_primaries())

    async def close(self) -> None:
        """Close the client, if it is ours, when no thread uses it any more."""
        self._closing = True
        self._close_unused()

    def _close_unused(self) -> None:
        with self._lock:
            if self._users or self._client is None or self._forget is None:
                return
            client, self._client = self._client, None
            self._forget()
        client.close()
        for node in client.get_nodes():  # it leaves them open where it was made of a URL
            if node.redis_connection is not None:
                node.redis_connection.connection_pool.disconnect()


class AsyncClientTransport(ClientTransport):
    """The transport of one event loop, over a cluster's client that was made for it.

    :param patience: seconds for one operation, the wait until it may be made included.
    """

    def __init__(
        self, make: Callable[[], AnyClient], limit: int, patience: float, secrets: Secrets
    ) -> None:
        super().__init__(make, limit, patience, secrets, cluster=True)
        self._turns = asyncio.Semaphore(limit)
        #: Whether who closed it was cancelled before the calls under way had ended.
        self._left_open = False

    async def _call(self, call: Callable[[], Reply]) -> Reply:
        async with Deadline(self._patience), self._turns:
            late = self._closing  # the caller had this transport before it was closed
            self._users += 1
            try:
                with self._secrets:
                    return await _never_swallowing(self._ready(call))
            finally:
                self._users -= 1
                if (late or self._left_open) and not self._users:
                    await self.client.aclose()

    async def _ready(self, call: Callable[[], Reply]) -> Reply:
        # The client does so by itself, but then its first commands, where several are made at the
        # same time, take each other's connections away (redis-py 8.1).
        await self.client.initialize()
        return await call()

    def _where(self, command: Command) -> dict[str, Node]:
        return {}  # it knows by itself

    async def _nodes(self) -> list[Node]:
        await self._call(self.client.initialize)
        return await super()._nodes()

    async def close(self) -> None:
        """Close the client, as soon as the calls that are under way have ended."""
        self._closing = True
        if self._client is None:
            return
        try:
            async with Deadline(2 * self._patience):  # no call takes longer than half of it
                while self._users:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)  # noqa: ASYNC110
        finally:  # also if it is cancelled
            self._left_open = bool(self._users)  # to the last call that is under way
            if not self._left_open:
                # In a task of its own: what a cancelled one leaves open, no later one closes.
                await asyncio.shield(asyncio.ensure_future(self._client.aclose()))


async def _never_swallowing(call: Coro[R]) -> R:
    """What a call gives; cancelled if the task was cancelled meanwhile.

    The client uses ``asyncio.wait_for``, which swallows that on Python 3.11 when the result comes
    at the same time.
    """
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    result = await call
    if task.cancelling() > before:
        raise asyncio.CancelledError
    return result
