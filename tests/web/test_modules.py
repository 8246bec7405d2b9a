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
def test_modules(tmp_path: Path) -> None:
    """One node for all of them: it takes longer to start than they take to run."""
    assert NODE is not None
    # Beside the page, and marked as ES modules: that is how a browser takes them.
    shutil.copytree(WEB, tmp_path / "web")
    for file in HERE.glob("*.mjs"):
        shutil.copy(file, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    names = [file.name for file in HERE.glob("*.test.mjs")]
    done = subprocess.run(
        [NODE, "--test", *names],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_page_needs_nobody_else() -> None:
    """No CDN, no inline script or style, and no data ever becomes markup."""
    page = (WEB / "index.html").read_text()
    assert "<style" not in page
    assert " style=" not in page
    assert " onclick=" not in page
    assert page.count("<script") == page.count('<script type="module" src=')
    for file in filter(Path.is_file, WEB.rglob("*")):
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, file.name
        assert "https://" not in text, file.name
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in text, file.name
