"""`run.py`: from a clone to a running server; shell scripts play its Python, pip and uv."""

from __future__ import annotations

import ast
import os
import runpy
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE, START, wait_for

ROOT = Path(__file__).parents[3]
NOTE = 'echo "$(basename "$0") $*" >> "$NOTES"\n'
"""Shell: write down how it was called."""
INTO_VENV = 'mkdir -p "$CLONE/.venv/bin" && cp "$CLONE/python" "$CLONE/.venv/bin/python"\n'
NO_ENSUREPIP = 'echo "not created successfully because ensurepip is not available"; exit 1\n'


class Clone:
    """A checkout with nothing but what `run.py` reads, on a PATH that a test furnishes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "clone"
        self.path = folder / "bin"
        self.elsewhere = folder / "elsewhere"
        for made in (self.folder, self.path, self.elsewhere):
            made.mkdir()
        for tool in ("sh", "basename", "mkdir", "cp", "sleep"):
            (self.path / tool).symlink_to(shutil.which(tool) or tool)
        (self.folder / "requirements").mkdir()
        for lock in ("server", "dev"):
            (self.folder / "requirements" / f"{lock}.txt").write_text(f"{lock}==1\n")
        (self.folder / "pyproject.toml").write_text("[project]\n")
        (self.folder / "setup.py").touch()
        compiled = self.folder / "src" / "cardume" / "hub" / "_sockets.c"
        compiled.parent.mkdir(parents=True)
        compiled.touch()
        shutil.copy(ROOT / "run.py", self.folder)
        self.script(self.folder / "python", "exit 0\n")

    def script(self, path: Path, body: str) -> None:
        """A command that notes how it was called."""
        path.write_text(f"#!/bin/sh\n{NOTE}{body}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def installed(self, *locks: str) -> None:
        """As a first run leaves it."""
        (self.folder / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy(self.folder / "python", self.folder / ".venv" / "bin" / "python")
        fingerprint = runpy.run_path(str(self.folder / "run.py"))["fingerprint"]
        for lock in locks:
            stamp = self.folder / ".venv" / f"cardume-{lock}"
            stamp.write_text(fingerprint(str(self.folder / "requirements" / f"{lock}.txt")))

    def command(self, *arguments: str, patch: str = "") -> list[str]:
        """Run it as this Python, or one that `patch` makes of it."""
        run = str(self.folder / "run.py")
        code = f"import runpy, sys; sys.argv = {[run, *arguments]!r}; {patch}\n"
        return [sys.executable, "-c", f"{code}runpy.run_path({run!r}, run_name='__main__')"]

    @property
    def environment(self) -> dict[str, str]:
        notes, clone = str(self.folder / "notes"), str(self.folder)
        return {"PATH": str(self.path), "NOTES": notes, "CLONE": clone}

    def run(self, *arguments: str, patch: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments, patch=patch),
            cwd=self.elsewhere,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=START,
        )

    @property
    def notes(self) -> list[str]:
        """The calls, without the paths of this machine."""
        file = self.folder / "notes"
        text = file.read_text() if file.exists() else ""
        return (
            text.replace(str(self.folder), "CLONE").replace(sys.executable, "PYTHON").splitlines()
        )


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("run.py: ")
    return line


def test_an_old_python_can_read_it() -> None:
    """Nothing of the language that came after Python 3.4; f-strings came with 3.6."""
    tree = ast.parse((ROOT / "run.py").read_text(), feature_version=(3, 4))
    new = (
        ast.JoinedStr,
        ast.NamedExpr,
        ast.AnnAssign,
        ast.AsyncFunctionDef,
        ast.Match,
        ast.Starred,
    )
    assert [node for node in ast.walk(tree) if isinstance(node, new)] == []
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert imported <= {"hashlib", "os", "shutil", "subprocess", "sys"}


def test_an_old_python_is_told_so(clone: Clone) -> None:
    done = clone.run(patch="sys.version_info = (3, 10, 12, 'final', 0)")
    assert "3.11" in last_line(done)
    assert "3.10" in last_line(done)
    assert len(done.stderr.splitlines()) == 1
    assert not (clone.folder / ".venv").exists()


def test_a_second_run_installs_nothing(clone: Clone) -> None:
    clone.installed("server", "dev")
    assert clone.run().returncode == 0
    assert clone.run("token", "--user", "a b").returncode == 0
    assert clone.run("test", "-k", "hub").returncode == 0
    assert clone.run("bench", "flood", "--quick").returncode == 0
    assert clone.run("bench", "--full").returncode == 0
    assert clone.notes == [
        "python -m cardume demo",
        "python -m cardume token --user a b",
        f"python -m pytest -n {2 * (os.cpu_count() or 1)} --dist loadfile -k hub",
        "python bench/ingest.py flood --quick",
        "python bench/everything.py --full",
    ]


def test_it_stays_in_the_users_folder_and_passes_the_exit_code_on(clone: Clone) -> None:
    clone.script(clone.folder / "python", 'pwd >> "$NOTES"; exit 7\n')
    clone.installed("server", "dev")
    assert clone.run("doctor").returncode == 7
    assert clone.notes[-1] == str(clone.elsewhere)
    assert clone.run("test").returncode == 7
    assert clone.notes[-1] == "CLONE"


def test_options_alone_are_those_of_the_demo(clone: Clone) -> None:
    """It says itself that another port is chosen with --port."""
    clone.installed("server")
    for arguments in (["--port", "8001"], ["--help"], ["-h"], ["--version"]):
        assert clone.run(*arguments).returncode == 0
    assert clone.notes == [
        "python -m cardume demo --port 8001",
        "python -m cardume --help",
        "python -m cardume -h",
        "python -m cardume --version",
    ]


def test_a_first_run_installs_with_uv_where_there_is_one(clone: Clone) -> None:
    clone.script(clone.path / "uv", INTO_VENV)
    assert clone.run("doctor").returncode == 0
    pip = "uv pip install --quiet --python CLONE/.venv/bin/python"
    assert clone.notes == [
        "uv venv --quiet --python PYTHON CLONE/.venv",
        f"{pip} --require-hashes -r CLONE/requirements/server.txt",
        f"{pip} --no-deps --no-build-isolation -e CLONE",
        "python -m cardume doctor",
    ]


def test_what_is_left_of_a_venv_is_in_nobodys_way(clone: Clone) -> None:
    """Its Python was a link to one that was uninstalled."""
    broken = clone.folder / ".venv" / "bin" / "python"
    broken.parent.mkdir(parents=True)
    broken.symlink_to("/nowhere/python3")
    clone.script(clone.path / "uv", INTO_VENV)
    assert clone.run("doctor").returncode == 0
    assert not broken.is_symlink()


@pytest.mark.parametrize("changed", ["requirements/server.txt", "pyproject.toml"])
def test_it_installs_again_when_what_it_needs_has_changed(clone: Clone, changed: str) -> None:
    clone.installed("server")
    with (clone.folder / changed).open("a") as file:
        file.write("# more\n")
    clone.script(clone.path / "uv", "")
    assert clone.run("doctor").returncode == 0
    assert len(clone.notes) == 3
    assert clone.run("doctor").returncode == 0
    assert len(clone.notes) == 4


def test_a_failed_installation_is_tried_again(clone: Clone) -> None:
    clone.installed()
    clone.script(clone.path / "uv", "exit 2\n")
    assert "network" in last_line(clone.run("doctor"))
    clone.script(clone.path / "uv", "")
    assert clone.run("doctor").returncode == 0


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (NO_ENSUREPIP, "sudo apt install python3"),
        ('echo "$0: No module named venv" >&2; exit 1\n', "sudo apt install python3"),
        ('echo "Error: Permission denied: .venv" >&2; exit 1\n', "Permission denied"),
        ("exit 1\n", "cannot make .venv"),
    ],
)
def test_a_python_without_venv(clone: Clone, body: str, says: str) -> None:
    stub = clone.folder / "python3"
    clone.script(stub, INTO_VENV + body)
    done = clone.run(patch=f"sys.executable = {str(stub)!r}")
    assert says in last_line(done)
    assert not (clone.folder / ".venv").exists()


def test_a_venv_without_pip_and_no_uv(clone: Clone) -> None:
    clone.script(clone.folder / "python", "exit 1\n")
    clone.installed()
    assert "remove .venv" in last_line(clone.run("doctor"))


def test_ctrl_c_while_it_installs(clone: Clone) -> None:
    clone.installed()
    clone.script(clone.path / "uv", "exec sleep 60\n")
    running = subprocess.Popen(
        clone.command("doctor"),
        env=clone.environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: clone.notes, "an installation that has begun")
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=PATIENCE)
    assert running.returncode == 1
    assert said.splitlines()[-1] == "run.py: stopped; run it again to go on"
    assert "Traceback" not in said
