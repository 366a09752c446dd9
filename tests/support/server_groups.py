"""Servers of Redis that work together: a sentinel, a replica set, a cluster."""

from __future__ import annotations

import itertools
import time
from contextlib import suppress
from typing import Any, Self

from support.servers import HOST, RedisServer, eventually


class Sentinel(RedisServer):
    """A Redis Sentinel that looks after one master, and is quick to replace it."""

    def __init__(self, master_name: str, master_port: int, quorum: int = 1) -> None:
        super().__init__()
        self.name = master_name
        self._config = self.folder / "sentinel.conf"
        self._lines = [
            f"monitor {master_name} {HOST} {master_port} {quorum}",
            f"down-after-milliseconds {master_name} 300",
            f"failover-timeout {master_name} 1000",
        ]
        self.forget()

    def forget(self) -> None:
        """At the next start, know what it knew at the first one."""
        self._config.write_text("".join(f"sentinel {line}\n" for line in self._lines))

    def command(self) -> list[str]:
        """The command line."""
        where = ["--bind", HOST, "--port", str(self.port), "--dir", str(self.folder)]
        return [self.program, str(self._config), "--sentinel", *where]

    def start(self) -> Self:
        """Start it, and let it learn and forgive faster than it does by itself."""
        super().start()
        with suppress(Exception):  # since Redis 7.0
            faster = {"INFO-PERIOD": 1000, "PUBLISH-PERIOD": 200, "TILT-PERIOD": 500}
            self.ask("SENTINEL", "DEBUG", *itertools.chain(*faster.items()))
        return self

    def flush(self) -> None:
        """It holds nothing."""

    def master(self) -> dict[str, Any]:
        """What it knows of the master: its ``status`` and ``address``, how many ``slaves``."""
        return dict(self.ask("INFO", "sentinel")["master0"])

    def can_replace(self) -> bool:
        """Whether it sees the master, and a replica that could take over."""
        replicas = self.ask("SENTINEL", "REPLICAS", self.name)
        known = [dict(zip(flat[::2], flat[1::2], strict=True)) for flat in replicas]
        fit = [(each["flags"], each["master-link-status"]) == ("slave", "ok") for each in known]
        return any(fit) and self.master()["status"] == "ok"


class Group:
    """Servers that work together, as :attr:`nodes`."""

    nodes: list[RedisServer]

    def stop(self) -> None:
        """End all of it, at once."""
        for node in self.nodes:
            node.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()


class RedisReplicaSet(Group):
    """A master, its replica, and a sentinel that replaces the one by the other."""

    name = "mymaster"

    def __init__(self) -> None:
        self.master, self.replica = RedisServer(), RedisServer()
        self.nodes = [self.master, self.replica]

    def start(self) -> Self:
        """Start all of it; when this returns, the sentinel could make the replica the master."""
        self.master.start()
        self.replica.options["replicaof"] = (HOST, self.master.port)
        self.replica.start()
        eventually(self.in_sync, "a replica in sync")
        if len(self.nodes) < 3:
            self.sentinel = Sentinel(self.name, self.master.port)
            self.nodes.append(self.sentinel)
        elif not self.sentinel.running:
            self.sentinel.forget()
        self.sentinel.start()
        eventually(self.sentinel.can_replace, "a sentinel that knows the replica")
        return self

    def in_sync(self) -> bool:
        """Whether the replica has all that the master has."""
        told = self.master.ask("INFO", "replication")
        replica = told.get("slave0", {"state": ""})
        return replica["state"] == "online" and replica["offset"] == told["master_repl_offset"]

    def current(self) -> RedisServer:
        """The server that the sentinel takes for the master."""
        address = self.sentinel.master()["address"]
        return next(node for node in self.nodes if address == f"{HOST}:{node.port}")

    def failover(self) -> RedisServer:
        """Kill the master and wait until the other one took over; the killed one."""
        old = self.current()
        old.kill()
        self.wait_for_failover(old)
        return old

    def demote(self) -> None:
        """Let the replica become the master, while the old one lives on as a replica."""
        again = 0.0

        def replaced() -> bool:
            nonlocal again
            if self.current() is not self.master:
                return True
            if time.monotonic() >= again:  # a sentinel may give up, when the replica is not heard
                again = time.monotonic() + 5
                self.sentinel.ask("SENTINEL", "FAILOVER", self.name)
            return False

        eventually(replaced, "a failover")
        self.wait_for_failover()

    def wait_for_failover(self, old: RedisServer | None = None) -> None:
        """Wait until another server took over from one, by default from the first master."""
        eventually(lambda: self.current() is not (old or self.master), "a failover")
        eventually(lambda: self.current().ask("ROLE")[0] == "master", "a new master")

    def restore(self) -> Self:
        """Bring it back from whatever a test did to it, each in its first role, and empty it."""
        for node in self.nodes:
            node.resume()
        changed = True
        with suppress(Exception):  # one of them does not answer
            changed = self.replica.ask("ROLE")[0] != "slave" or self.current() is not self.master
            changed = changed or not self.sentinel.can_replace()
        if changed:
            self.stop()
            self.start()
        self.master.flush()
        eventually(lambda: self.replica.ask("DBSIZE") == 0, "an empty replica")
        return self


class RedisCluster(Group):
    """A Redis Cluster of three masters, each with a third of the slots."""

    SHARE = 5462

    def __init__(self, **options: Any) -> None:
        # Longer than a busy machine, or a test, keeps a node from answering the others.
        common = {"cluster_enabled": "yes", "cluster_node_timeout": 15_000}
        common |= {"cluster_announce_ip": HOST, **options}
        self.nodes = [RedisServer(**common) for _ in range(3)]

    @property
    def url(self) -> str:
        """Where its first node is."""
        return self.nodes[0].url

    def start(self) -> Self:
        """Start all of it; when this returns, each node says that the cluster is complete."""
        for number, node in enumerate(self.nodes):
            node.start()
            if "cluster_slots_assigned:0" in node.ask("CLUSTER", "INFO"):
                slots = range(16384)[number * self.SHARE :][: self.SHARE]
                node.ask("CLUSTER", "ADDSLOTS", *slots)
                node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                for other in self.nodes[:number]:
                    node.ask("CLUSTER", "MEET", HOST, other.port)
        for node in self.nodes:
            eventually(
                lambda node=node: "cluster_state:ok" in node.ask("CLUSTER", "INFO"), "a cluster"
            )
        return self

    def holder(self, key: str) -> RedisServer:
        """The node that holds a key."""
        return self.nodes[self.nodes[0].ask("CLUSTER", "KEYSLOT", key) // self.SHARE]

    def restore(self) -> Self:
        """Bring it back from whatever a test did to its nodes, and empty it."""
        for node in self.nodes:
            node.resume()
        for node in self.start().nodes:
            node.flush()
        return self
