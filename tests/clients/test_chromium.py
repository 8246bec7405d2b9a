"""npm `centrifuge` as a browser has it: heard, cut off, and back without a gap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from tests.clients.place import Place
from tests.support.browser import CHROMIUM, chromium
from tests.support.house import token

SUBSCRIBE = """([token, channel, transports]) => {
    window.heard = [];
    window.greetings = [];
    const client = new Centrifuge(transports, {
        token, emulationEndpoint: `${location.origin}/emulation`,
        minReconnectDelay: 20, maxReconnectDelay: 100,
    });
    const sub = client.newSubscription(channel);
    sub.on('publication', (ctx) => heard.push(ctx.data));
    sub.on('subscribed', (ctx) => greetings.push([ctx.recovered, ctx.data ?? null]));
    sub.on('subscribing', () => { window.away = true; });
    client.on('connected', (ctx) => { window.by = ctx.transport; });
    sub.subscribe();
    client.connect();
}"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    async with chromium() as browser:
        yield browser


@pytest.fixture
async def page(browser: Browser, place: Place, modules: Path) -> AsyncIterator[Page]:
    """A page that was served over the wire, so that all of it is one origin."""
    place.files = modules / "centrifuge" / "dist"
    page = await browser.new_page()
    try:
        await page.goto(f"http://127.0.0.1:{place.wire.port}/control/page")
        yield page
    finally:
        await page.close()


@pytest.mark.parametrize("way", ["websocket", "sse"])
async def test_a_browser_comes_back_without_a_gap(page: Page, place: Place, way: str) -> None:
    origin = f"127.0.0.1:{place.wire.port}"
    scheme = "ws" if way == "websocket" else "http"
    transports = [{"transport": way, "endpoint": f"{scheme}://{origin}/connection/{way}"}]
    channel = f"room:chromium-{way}"

    async def say(*data: Any) -> None:
        for each in data:
            await asyncio.to_thread(place.run, place.hub.publish(channel, None, each))

    await page.evaluate(SUBSCRIBE, [token("browser"), channel, transports])
    await page.wait_for_function("greetings.length === 1")
    await say(1)
    await page.wait_for_function("heard.length === 1")
    await page.evaluate("window.away = false")
    place.soon(place.wire.cut)
    await page.wait_for_function("away")
    await say(2, 3)
    place.soon(place.wire.mend)
    await page.wait_for_function("greetings.length === 2")
    await say(4)
    await page.wait_for_function("heard.length === 4")
    assert await page.evaluate("[heard, by]") == [[1, 2, 3, 4], way]
    snapshot = {"snapshot": {"room": f"chromium-{way}"}}
    assert await page.evaluate("greetings") == [[False, snapshot], [True, None]]
