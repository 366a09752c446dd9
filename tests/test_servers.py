"""The servers and the proxy that other tests use do what these tests rely on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from support.crew import TESTS
from support.fault_proxy import FaultProxy
from support.server_groups import RedisCluster, RedisReplicaSet
from support.servers import (
    HOST,
    MemcachedServer,
    RedisServer,
    Server,
    ServerError,
    eventually,
    free_port,
)
from support.waiting import PATIENCE


def dial(port: int) -> socket.socket:
    """A connection, on which an answer is waited for."""
    return socket.create_connection((HOST, port), timeout=PATIENCE)


def ping(client: socket.socket) -> bytes:
    """What comes back for a PING."""
    client.sendall(b"PING\r\n")
    return client.recv(100)


def alive(pid: int) -> bool:
    """Whether a process is there, and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture
def client(redis_proxy: FaultProxy) -> Iterator[socket.socket]:
    """A connection through the proxy, which has been used."""
    with dial(redis_proxy.port) as client:
        assert ping(client) == b"+PONG\r\n"
        yield client


# --- servers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2])
def test_each_test_finds_the_servers_empty(
    clean_redis: RedisServer,
    clean_two_memcached: tuple[MemcachedServer, MemcachedServer],
    number: int,
) -> None:
    """What the one leaves behind, the next does not see, even in the same second."""
    assert clean_redis.ask("DBSIZE") == 0
    clean_redis.ask("SET", "left", "behind")
    for server in clean_two_memcached:
        assert server.ask("get left") == "END"
        assert server.ask("set left 0 0 6\r\nbehind") == "STORED"
        assert server.ask("get left") == "VALUE left 0 6"


@pytest.mark.parametrize("kind", [RedisServer, MemcachedServer])
def test_a_server_can_be_killed_hung_and_restarted_on_its_port(
    kind: type[RedisServer] | type[MemcachedServer],
) -> None:
    """Its port stays, its process is another one, and a stopped one leaves no process."""
    with kind() as server:
        first, port = server.pid, server.port
        with dial(port) as client:
            server.pause()
            client.settimeout(0.1)
            client.sendall(b"nonsense\r\n")
            with pytest.raises(TimeoutError):
                client.recv(1)
            server.resume()
            client.settimeout(PATIENCE)
            assert b"ERR" in client.recv(100)
        server.kill()
        assert not server.running and not alive(first)
        with pytest.raises(ConnectionRefusedError):
            dial(port)
        server.restart()
        assert server.answers() and server.port == port and server.pid not in (0, first)
        last = server.pid
    assert not server.running and not alive(last)


def test_a_server_that_a_thread_restarted_outlives_the_thread() -> None:
    """The servers end with the process, and not with who started them."""
    with RedisServer() as server:
        thread = threading.Thread(target=server.restart)
        thread.start()
        thread.join()
        time.sleep(0.05)
        assert server.answers()


def test_a_redis_takes_options() -> None:
    """A password, a socket in the file system, TLS, and what is in its manual."""
    with RedisServer(requirepass="a b", unixsocket=True, tls=True, maxmemory="7mb") as server:
        assert server.url == f"rediss://:a%20b@{HOST}:{server.port}"
        assert server.ask("CONFIG", "GET", "maxmemory")[1] == str(7 << 20)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(server.socket)
            assert ping(client).startswith(b"-NOAUTH")


def test_a_memcached_takes_options() -> None:
    """A socket in the file system instead of a port, and what is in its manual."""
    with MemcachedServer(unixsocket=True, m=64, max_item_size="2m") as server:
        assert server.ask("get key") == "END"
        assert os.path.exists(server.socket)


def test_a_server_whose_port_is_taken_chooses_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port was free when it was chosen, and then somebody else was faster."""
    for kind in (RedisServer, MemcachedServer):
        with kind() as other:
            ports = [free_port(), other.port]
            monkeypatch.setattr(sys.modules[Server.__module__], "free_port", ports.pop)
            with kind() as server:
                assert server.port != other.port and server.answers()
        monkeypatch.undo()


def test_a_server_that_does_not_start_says_why() -> None:
    """The error has what the program printed."""
    with pytest.raises(ServerError, match="(?s)does not start.*Bad directive"):
        RedisServer(no_such_option=1).start()


def test_a_missing_program_is_named_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A test that needs it fails, and is not skipped."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ServerError, match="memcached is missing.*apt-get install"):
        MemcachedServer().start()


def test_no_server_outlives_tests_that_are_killed() -> None:
    """Nor does its folder."""
    script = "from support.servers import *; s = RedisServer().start();"
    script += "print(s.pid, s.folder, flush=True);"
    tests = subprocess.Popen(
        [sys.executable, "-c", script + "s.pause(); time.sleep(60)"],
        cwd=TESTS,
        stdout=subprocess.PIPE,
        text=True,
    )
    with tests:
        pid, folder = tests.stdout.readline().split()
        assert alive(int(pid))
        tests.send_signal(signal.SIGKILL)
    eventually(lambda: not alive(int(pid)) and not os.path.exists(folder), "the end of the server")


# --- servers that work together -------------------------------------------------------------------


def test_the_replica_takes_over(clean_replica_set: RedisReplicaSet) -> None:
    """The sentinel makes it the master; restored, all is as it was."""
    replicas = clean_replica_set
    replicas.master.ask("SET", "key", "value")
    eventually(replicas.in_sync, "a replica in sync")
    assert replicas.failover() is replicas.master
    assert replicas.current() is replicas.replica
    assert replicas.replica.ask("GET", "key") == "value"
    ports = [node.port for node in replicas.nodes]
    replicas.restore()
    assert replicas.current() is replicas.master and replicas.sentinel.can_replace()
    assert ports == [node.port for node in replicas.nodes]
    assert replicas.master.ask("DBSIZE") == replicas.replica.ask("DBSIZE") == 0


def test_each_node_of_the_cluster_has_its_keys(clean_cluster: RedisCluster) -> None:
    """The others refuse them."""
    keys = [f"key{n}" for n in range(30)]
    for key in keys:
        clean_cluster.holder(key).ask("SET", key, "value")
    sizes = [node.ask("DBSIZE") for node in clean_cluster.nodes]
    assert sum(sizes) == len(keys) and all(sizes)
    clean_cluster.restore()
    assert [node.ask("DBSIZE") for node in clean_cluster.nodes] == [0, 0, 0]


# --- the proxy ------------------------------------------------------------------------------------


def test_the_proxy_passes_everything_on_and_counts(
    redis_proxy: FaultProxy, client: socket.socket
) -> None:
    """Values of some megabytes too; a connection that is closed counts no more."""
    value = os.urandom(5 << 20)
    client.sendall(b"SET key %b\r\n" % value.hex()[:100].encode())
    assert client.recv(100) == b"+OK\r\n"
    client.sendall(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$%d\r\n%b\r\n" % (len(value), value))
    assert client.recv(100) == b"+OK\r\n"
    client.sendall(b"GET key\r\n")
    with client.makefile("rb") as stream:
        assert stream.readline() == b"$%d\r\n" % len(value)
        assert stream.read(len(value)) == value
    with dial(redis_proxy.port) as other:
        assert ping(other) == b"+PONG\r\n"
        assert (redis_proxy.connections, redis_proxy.accepted) == (2, 2)
    eventually(lambda: redis_proxy.connections == 1, "a connection less")
    assert redis_proxy.accepted == 2 and redis_proxy.requests > 5


def test_the_proxy_refuses_and_heals(redis_proxy: FaultProxy, client: socket.socket) -> None:
    """Open connections are reset, new ones refused; afterwards the port is the same."""
    port = redis_proxy.port
    redis_proxy.refuse()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        dial(port)
    redis_proxy.heal()
    with dial(port) as again:
        assert ping(again) == b"+PONG\r\n"


def test_the_proxy_is_silent(redis_proxy: FaultProxy, client: socket.socket) -> None:
    """New connections are accepted; who was not answered never is, who did not ask is again."""
    with dial(redis_proxy.port) as idle, dial(redis_proxy.port) as other:
        assert ping(idle) == b"+PONG\r\n"
        redis_proxy.silence()
        with dial(redis_proxy.port) as late:
            for each in (client, other, late):
                each.settimeout(0.05)
                with pytest.raises(TimeoutError):
                    ping(each)
        redis_proxy.heal()
        with pytest.raises(TimeoutError):
            ping(client)
        assert ping(idle) == b"+PONG\r\n"


def answers_under_way(proxy: FaultProxy) -> list[float]:
    """When the answers that the proxy holds back are due."""
    return [due for link in list(proxy._links) for due, _ in list(link.to_client)]


def test_an_answer_that_is_delayed_can_still_be_silenced(
    redis_proxy: FaultProxy, client: socket.socket
) -> None:
    """It is on its way when the network dies."""
    redis_proxy.delay(60)
    client.sendall(b"PING\r\n")
    eventually(lambda: answers_under_way(redis_proxy), "an answer on its way")
    redis_proxy.silence()
    with dial(redis_proxy.port) as late:
        late.sendall(b"PING\r\n")  # so that the proxy has something to do
        eventually(lambda: not answers_under_way(redis_proxy), "no answer any more")


def test_the_proxy_delays(redis_proxy: FaultProxy, client: socket.socket) -> None:
    """Each answer comes later; the delays of several do not add up."""
    redis_proxy.delay(0.1)
    started = time.monotonic()
    assert ping(client) == b"+PONG\r\n"
    assert time.monotonic() - started >= 0.1
    redis_proxy.delay(60)
    started = time.monotonic()
    with dial(redis_proxy.port) as one, dial(redis_proxy.port) as other:
        for each in (one, other):
            each.sendall(b"PING\r\n")
        eventually(lambda: len(answers_under_way(redis_proxy)) == 2, "two answers on their way")
        due = answers_under_way(redis_proxy)
        assert started + 60 <= min(due) and max(due) <= time.monotonic() + 60
        redis_proxy.heal()
        assert ping(client) == b"+PONG\r\n"


def test_the_proxy_answers_garbage(redis_proxy: FaultProxy, client: socket.socket) -> None:
    """The server does not hear of the request; afterwards the connection works again."""
    redis_proxy.garbage(b"what?")
    client.sendall(b"SET key value\r\n")
    assert client.recv(100) == b"what?"
    redis_proxy.heal()
    client.sendall(b"EXISTS key\r\n")
    assert client.recv(100) == b":0\r\n"


@pytest.mark.parametrize("reset", [False, True])
def test_the_proxy_cuts_connections_once(
    redis_proxy: FaultProxy, client: socket.socket, reset: bool
) -> None:
    """The open ones end, as by a close or a reset; the next one works."""
    with dial(redis_proxy.port) as new:
        redis_proxy.cut(reset)
        assert redis_proxy.connections == 0
        with suppress(ConnectionResetError):
            assert new.recv(1) == b""
    if reset:
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    else:
        assert client.recv(1) == b""
    with dial(redis_proxy.port) as again:
        assert ping(again) == b"+PONG\r\n"


def test_the_proxy_before_a_dead_server_closes_connections() -> None:
    """It lives on, and passes on again when the server is back."""
    with RedisServer() as server, FaultProxy(server.port) as proxy:
        with dial(proxy.port) as client:
            assert ping(client) == b"+PONG\r\n"
            server.kill()
            assert client.recv(1) == b""
        with dial(proxy.port) as client:
            assert client.recv(1) == b""
        server.start()
        with dial(proxy.port) as client:
            assert ping(client) == b"+PONG\r\n"


def test_a_proxy_that_is_stopped_leaves_nothing(memcached_port: int) -> None:
    """No thread and no connection, and it can be started again."""
    before = threading.active_count()
    proxy = FaultProxy(memcached_port)
    for _ in range(2):
        with proxy, dial(proxy.port) as client:
            client.sendall(b"version\r\n")
            assert client.recv(100).startswith(b"VERSION")
            proxy.silence()
        assert (proxy.connections, threading.active_count()) == (0, before)
        with pytest.raises(ConnectionRefusedError):
            dial(proxy.port)
