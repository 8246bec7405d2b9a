"""npm `centrifuge` in node: every scene of `sdk.test.mjs`, over a WebSocket and event streams."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.place import Place

HERE = Path(__file__).parent


@pytest.mark.timeout(120)
def test_the_javascript_sdk(place: Place, modules: Path, tmp_path: Path) -> None:
    """One node for all of them: it takes longer to start than a scene to run."""
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    shutil.copy(HERE / "sdk.test.mjs", tmp_path)
    done = subprocess.run(
        ["node", "--test", "--test-reporter=tap", "sdk.test.mjs"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PLACE_CONTROL": f"http://127.0.0.1:{place.port}/control",
            "PLACE_WIRE": f"127.0.0.1:{place.wire.port}",
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert "# pass 24" in done.stdout
