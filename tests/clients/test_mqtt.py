"""npm `mqtt` in node against `cardume serve`: MQTT over WebSocket at `/mqtt`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.server import API_KEY, serving

HERE = Path(__file__).parent


@pytest.mark.timeout(120)
def test_mqtt_js(modules: Path, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    shutil.copy(HERE / "mqtt.test.mjs", tmp_path)
    with serving(tmp_path) as server:
        server.ok("POST", "/aquariums", {"name": "Reef", "kind": "reef"})
        key = server.ok("POST", "/devices", {"device_id": "sim", "aquarium_id": 1})["key"]
        done = subprocess.run(
            ["node", "--test", "--test-reporter=tap", "mqtt.test.mjs"],
            cwd=tmp_path,
            env={
                **os.environ,
                "MQTT_URL": f"ws://127.0.0.1:{server.port}/mqtt",
                "MQTT_KEY": key,
                "MQTT_API_KEY": API_KEY,
            },
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:]
        assert "# pass 3" in done.stdout
        page = server.ok("GET", "/aquariums/1/readings?metric=temperature")
        assert len(page["items"]) == 40
