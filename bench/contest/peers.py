"""The other servers: how each is started, and where its subscribers and publishers go.

None of them asks for a token, keeps a history or gives positions: what they do is the fan-out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit

from contest import install
from contest.crowd import Address
from contest.process import free_port, running
from contest.publishers import Http, Mqtt
from contest.targets import Stage, Start, Target

_ENGINE_IO = "/socket.io/?EIO=4&transport=websocket"
_NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

_MQTT_CONNECT = "hex:100c00044d51545404020000" + "0000"
_MQTT_SUBSCRIBE = "hex:8206000100017400"
_MQTT_SUBACK = "hex:9003"
_MQTT_TOPIC = b"t"


def peers() -> list[Target]:
    """All of them, also those that are not here."""
    under_uvicorn = partial(_python, "-m", "uvicorn", "--log-level", "warning")
    return [
        Target(
            "uWebSockets (socketify)",
            _socketify,
            install.python_peers,
            partial(_python_version, "socketify"),
        ),
        Target("nchan", _nchan, _nchan_missing, _nchan_version),
        Target("mosquitto, WebSocket", _mosquitto, _mosquitto_missing, _mosquitto_version),
        Target("Node ws", _node("ws.cjs", "/ws"), install.node_peers, partial(_node_version, "ws")),
        Target(
            "Socket.IO (Node)",
            _node("socketio.cjs", _ENGINE_IO),
            install.node_peers,
            partial(_node_version, "socket.io"),
        ),
        Target(
            "FastAPI manager, uvicorn",
            under_uvicorn("fastapi_manager:app", path="/ws"),
            install.python_peers,
            partial(_python_version, "fastapi", "uvicorn"),
        ),
        Target(
            "Litestar channels, uvicorn",
            under_uvicorn("litestar_channels:app", path="/news"),
            install.python_peers,
            partial(_python_version, "litestar"),
        ),
        Target(
            "python-socketio, uvicorn",
            under_uvicorn("socketio_python:app", path=_ENGINE_IO),
            install.python_peers,
            partial(_python_version, "python-socketio"),
        ),
    ]


def _address(port: int, path: str) -> Address:
    if path == _ENGINE_IO:
        return Address(port, (path,), messages=("40",), greeting="40{", ping=("2", "3"))
    return Address(port, (path,))


@contextmanager
def _started(
    command: Callable[[int], list[str]], path: str, env: dict[str, str] | None = None
) -> Iterator[Stage]:
    port = free_port()
    with running(command(port), port, install.PEERS, env) as process:
        yield Stage(process, _address(port, path), lambda: Http(port, "/publish"))


def _python(*arguments: str, path: str) -> Start:
    def command(port: int) -> list[str]:
        return [str(install.PYTHON), *arguments, "--port", str(port)]

    return lambda _audience: _started(command, path)


def _socketify(_audience: int) -> AbstractContextManager[Stage]:
    command = lambda port: [str(install.PYTHON), "uwebsockets.py", str(port)]  # noqa: E731
    return _started(command, "/ws")


def _node(script: str, path: str) -> Start:
    def command(port: int) -> list[str]:
        return [install.program("node") or "node", script, str(port)]

    env = {"NODE_PATH": str(install.MODULES)}
    return lambda _audience: _started(command, path, env)


@contextmanager
def _nchan(_audience: int) -> Iterator[Stage]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-nchan-") as name:
        filled = {
            "module": _NCHAN,
            "user": "user root;" if os.geteuid() == 0 else "",
            "files": getrlimit(RLIMIT_NOFILE)[1],
            "folder": name,
            "port": port,
        }
        conf = _filled("nchan.conf", Path(name), filled)
        command = [install.program("nginx") or "nginx", "-c", str(conf), "-p", name]
        with running(command, port, Path(name)) as process:
            yield Stage(process, _address(port, "/ws"), lambda: Http(port, "/publish"))


@contextmanager
def _mosquitto(_audience: int) -> Iterator[Stage]:
    port, other_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="bench-mosquitto-") as name:
        conf = _filled("mosquitto.conf", Path(name), {"port": port, "other_port": other_port})
        command = [install.program("mosquitto") or "mosquitto", "-c", str(conf)]
        address = Address(
            other_port,
            ("/mqtt",),
            headers=("Sec-WebSocket-Protocol: mqtt",),
            messages=(_MQTT_CONNECT, _MQTT_SUBSCRIBE),
            greeting=_MQTT_SUBACK,
        )
        with running(command, other_port, Path(name)) as process:
            yield Stage(process, address, lambda: Mqtt(port, _MQTT_TOPIC))


def _filled(name: str, folder: Path, values: dict[str, object]) -> Path:
    """A configuration with its `{names}` filled in; other braces stay."""
    text = (install.PEERS / name).read_text()
    made = folder / name
    made.write_text(re.sub(r"\{(\w+)\}", lambda found: str(values[found[1]]), text))
    return made


def _nchan_missing() -> str:
    here = install.program("nginx") and _NCHAN.exists()
    return "" if here else "nginx with nchan is not here (Debian: libnginx-mod-nchan)"


def _mosquitto_missing() -> str:
    return "" if install.program("mosquitto") else "mosquitto is not here"


def _nchan_version() -> str:
    return _first_version([install.program("nginx") or "nginx", "-v"], "nginx")


def _mosquitto_version() -> str:
    return _first_version([install.program("mosquitto") or "mosquitto", "-h"], "mosquitto")


def _first_version(command: Sequence[str], name: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return f"{name} {found[0]}" if found else name


def _python_version(*packages: str) -> str:
    ask = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    done = subprocess.run(
        [str(install.PYTHON), "-c", ask, *packages], capture_output=True, text=True
    )
    return ", ".join(map(" ".join, zip(packages, done.stdout.split(), strict=False)))


def _node_version(package: str) -> str:
    said = json.loads((install.MODULES / package / "package.json").read_text())
    return f"{package} {said['version']}"
