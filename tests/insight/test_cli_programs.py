"""The commands as users run them: by the programs ``flask`` and ``quart``."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flask_caching_async.insight.cli import commands
from support.command_lines import FRAMEWORKS, command, environment, run_program
from support.waiting import PATIENCE


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_both_programs_have_the_commands(framework: str, tmp_path: Path) -> None:
    """What one command stores, another one finds: they share files."""
    env = environment(
        tmp_path, {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(tmp_path / "files")}
    )

    def cli(*args: str) -> Any:
        return run_program(framework, *args, env=env, folder=tmp_path)

    code, out, err = cli("refresh", "/books/7")
    assert (code, err) == (0, "") and "Stored under view//books/7" in out
    code, out, err = cli("explain", "/books/7", "--json")
    assert (code, err) == (0, "") and json.loads(out)["answer"] == "hit"
    code, out, err = cli("clear")
    assert (code, out) == (
        1,
        "",
    ) and err == "Error: clear asks first, and there is no terminal to ask on: add --yes.\n"


def test_a_dead_server_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    """Also when the program ends: nothing is tried again then."""
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": "redis://127.0.0.1:1"}
    env = environment(tmp_path, {**config, "CACHE_KEY_PREFIX": "shop:"})
    code, out, err = run_program("flask", "delete", "key", env=env, folder=tmp_path)
    assert (code, out) == (1, "") and err.count("\n") == 1
    assert err.startswith("Error: RedisCache at 127.0.0.1:1 failed to delete ['key']")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_clear_asks_and_colours_are_shown_unless_unwanted(tmp_path: Path) -> None:
    """NO_COLOR is obeyed; see no-color.org."""
    env = environment(
        tmp_path, {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(tmp_path / "files")}
    )
    code, shown = on_terminal(tmp_path, env, ["clear"], b"n\n")
    assert code == 1 and "Drop everything" in shown and "[y/N]" in shown
    assert "\x1b[32m" in on_terminal(tmp_path, env, ["ping"])[1]
    assert "\x1b[" not in on_terminal(tmp_path, {**env, "NO_COLOR": "1"}, ["ping"])[1]


def on_terminal(
    folder: Path, env: dict[str, str], args: list[str], typed: bytes = b""
) -> tuple[int, str]:
    """The exit code, and what a terminal was sent."""
    import pty

    ours, theirs = pty.openpty()
    streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    process = subprocess.Popen(command("flask", *args), env=env, cwd=folder, **streams)
    os.close(theirs)
    os.write(ours, typed)
    shown = b""
    while True:
        try:
            if not (some := os.read(ours, 4096)):
                break
        except OSError:  # the last one at its other end has closed it
            break
        shown += some
    os.close(ours)
    return process.wait(PATIENCE), shown.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_ctrl_c_ends_a_watch_without_an_error(tmp_path: Path) -> None:
    """With the exit code 0, and no traceback."""
    env = environment(
        tmp_path, {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(tmp_path / "files")}
    )
    watching = subprocess.Popen(
        command("flask", "stats", "--watch", "0.2", "--json"), env=env, cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert watching.stdout is not None
    looks = [json.loads(watching.stdout.readline()) for _ in range(2)]
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=PATIENCE)
    assert (watching.returncode, err) == (0, "") and looks[0]["cache"] == "cache"


def test_the_installed_package_has_the_entry_points() -> None:
    """Of both programs. Those of an editable installation are those of the day it was made."""
    installed = importlib.metadata.distribution("flask-caching-async").entry_points
    groups = {point.group for point in installed if point.name == "cache"}
    if not groups:
        pytest.skip("the package was installed here before it had commands: install it again")
    assert groups == {"flask.commands", "quart.commands"}
    assert all(point.load() is commands for point in installed if point.name == "cache")
