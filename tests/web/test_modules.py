"""The pure modules of the page, and its way back to a lost server, under node's own runner."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import cardume

HERE = Path(__file__).parent
WEB = Path(cardume.__file__).parent / "web"
NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize("module", ["state", "connection"])
def test_module(module: str, tmp_path: Path) -> None:
    assert NODE is not None
    # Beside each other, and marked as ES modules: that is how a browser takes them.
    shutil.copy(WEB / f"{module}.js", tmp_path)
    shutil.copy(HERE / f"{module}.test.mjs", tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    done = subprocess.run(
        [NODE, "--test"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_page_needs_nobody_else() -> None:
    """No CDN, no inline script or style, and no data ever becomes markup."""
    page = (WEB / "index.html").read_text()
    assert "<style" not in page
    assert " style=" not in page
    assert " onclick=" not in page
    assert page.count("<script") == page.count('<script type="module" src=')
    for file in WEB.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, file.name
        assert "https://" not in text, file.name
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in text, file.name
