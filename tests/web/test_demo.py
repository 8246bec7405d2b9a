"""The page on a running demo: what moves, what dies, what is acknowledged, what comes back."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from playwright.async_api import Browser, Locator, Page, expect

from tests.support.browser import AT_ONCE, WHEN_ASKED, Server, Visit, Wire, visiting

LOST = ["WebSocket connection to", "Failed to load resource: net::ERR"]
"""What chromium itself says of a server that is gone."""


@pytest.fixture
async def visit(browser: Browser, demo: Server) -> AsyncIterator[Visit]:
    async with visiting(browser, demo.url) as visit:
        await live(visit.page)
        yield visit
        assert visit.complaints_but() == []


async def live(page: Page) -> None:
    await expect(page.locator("#phase")).to_have_text("Live")
    await expect(page.locator("#tiles .tile")).not_to_have_count(0)


def tile(page: Page, name: str, source: str = "") -> Locator:
    found = page.locator("#tiles .tile").filter(has=page.get_by_role("heading", name=name))
    return found.filter(has_text=source) if source else found


def device(page: Page, name: str) -> Locator:
    return page.locator("#devices .device").filter(has_text=name)


async def moves(tile: Locator) -> None:
    """It shows another value than now, then another again."""
    number = tile.locator(".number")
    for _ in range(2):
        await expect(number).not_to_have_text(await number.inner_text())


async def test_tiles_move(visit: Visit) -> None:
    page = visit.page
    await expect(page).to_have_title(re.compile("Sample reef"))
    temperature = tile(page, "Temperature", "Display tank probe")
    await expect(temperature.locator(".mark")).to_contain_text(re.compile("In range|Too high"))
    await expect(temperature.locator(".target")).to_have_text("Target 24–26.5 °C")  # noqa: RUF001
    await expect(temperature.locator(".age time")).to_have_text(re.compile("just now|s ago"))
    await moves(temperature)
    assert (await temperature.locator(".trace").get_attribute("d") or "").count("L") > 1
    await expect(device(page, "Display tank probe")).to_contain_text("Online")
    assert "token" not in page.url


async def test_a_reading_of_a_real_client_appears(visit: Visit, demo: Server) -> None:
    await expect(tile(visit.page, "Nitrate").locator(".mark")).to_contain_text("No reading yet")
    demo.publish("reading", '{"metric":"nitrate","value":5.25}')
    shown = tile(visit.page, "Nitrate", "Your device")
    await expect(shown.locator(".number")).to_have_text("5.25")
    await expect(shown.locator(".mark")).to_contain_text("In range")
    demo.publish("reading", '{"metric":"nitrate","value":25.5}')
    await expect(shown.locator(".mark")).to_contain_text("Too high")
    await expect(tile(visit.page, "Nitrate")).to_have_count(1)


async def test_a_killed_device_is_offline_until_somebody_knows(visit: Visit, demo: Server) -> None:
    page = visit.page
    with demo.plugged_in('{"metric":"orp","value":300}'):
        await expect(tile(page, "ORP").locator(".number")).to_have_text("300")
        await expect(device(page, "Your device")).to_contain_text("Online")
    await expect(device(page, "Your device")).to_contain_text("Offline")
    await expect(device(page, "Your device")).to_contain_text("connection was lost")
    alert = page.locator("#alerts .alert").filter(has_text="Your device is offline")
    await expect(alert).to_contain_text("Major")
    await expect(page).to_have_title(re.compile(r"^\(\d\)"))
    await expect(page.locator("#announcer")).to_contain_text("Your device is offline")

    await alert.get_by_role("button", name="Acknowledge").click()
    await expect(alert).to_contain_text("acknowledged by demo")
    await page.reload()
    await expect(alert).to_contain_text("acknowledged by demo")
    await expect(alert.get_by_role("button")).to_have_count(0)


async def sign_in(page: Page, token: str) -> None:
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_text("Use a token instead").click()
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Use this token").click()
    await live(page)


@contextlib.contextmanager
def obedient(demo: Server) -> Iterator[None]:
    """`my-device`, which does what it is told and says so."""

    def connected(client: Client, *_: Any) -> None:
        client.subscribe(demo.topic("command"), 1)

    def told(client: Client, _: Any, message: MQTTMessage) -> None:
        done = {"id": json.loads(message.payload)["id"], "result": "ok", "answer": {"left": 118}}
        client.publish(demo.topic("command/result"), json.dumps(done), 1)

    ready = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, "my-device")
    client.username_pw_set("my-device", demo.key)
    client.on_connect = connected
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = told
    client.connect("127.0.0.1", demo.mqtt_port)
    client.loop_start()
    try:
        assert ready.wait(10)
        yield
    finally:
        client.disconnect()
        client.loop_stop()


async def test_a_command_reaches_its_device_and_the_answer_is_shown(
    visit: Visit, demo: Server
) -> None:
    page, yours = visit.page, device(visit.page, "Your device")
    await sign_in(page, demo.token)
    await yours.get_by_text("Commands").click()
    send = yours.get_by_role("button", name="Send")
    await yours.get_by_label("Command", exact=True).fill("feed")
    await yours.get_by_label("Parameters").fill("[2]")
    await send.click()
    await expect(yours.get_by_role("alert")).to_contain_text("a JSON object")
    await yours.get_by_label("Parameters").fill('{"grams": 2}')
    with obedient(demo):
        await send.click()
        fed = yours.get_by_role("listitem").filter(has_text="feed")
        await expect(fed.locator(".badge")).to_have_text("Done")
    await expect(fed).to_contain_text('{"grams":2}')
    await expect(fed.locator(".answer")).to_have_text('{"left":118}')
    await expect(yours.get_by_label("Command", exact=True)).to_have_value("")

    await page.reload()
    await live(page)
    await yours.get_by_text("Commands").click()
    await expect(yours.get_by_role("listitem").locator(".badge")).to_have_text("Done")


async def test_where_readings_are_many_their_range_is_drawn(visit: Visit, demo: Server) -> None:
    now = time.time()
    many = [{"metric": "co2", "value": 10 + i % 7, "ts": now - 400 + 2 * i} for i in range(200)]
    demo.publish("reading", json.dumps({"readings": many}))
    await visit.page.reload()
    co2 = tile(visit.page, "CO₂")
    await expect(co2.locator(".range")).to_have_attribute("d", re.compile(r"^M.+L.+Z$"))
    await expect(co2.get_by_role("img")).to_have_accessible_name("between 10 and 16")
    await expect(co2.locator(".past")).to_be_empty()


async def test_a_cut_wire_is_said_and_what_was_missed_is_replayed(
    browser: Browser, demo: Server
) -> None:
    wire = Wire(demo.port)
    async with wire.relaying(), visiting(browser, wire.url, dice=WHEN_ASKED) as visit:
        page, banner = visit.page, visit.page.locator("#banner")
        await live(page)
        await expect(banner).to_be_hidden()
        wire.cut()
        await expect(banner).to_contain_text("Connection lost")
        await expect(banner).to_contain_text(re.compile(r"Trying again in \d+ s"))
        await expect(page.locator("#main")).to_have_attribute("data-live", "false")
        demo.publish("reading", '{"metric":"tds","value":301}')
        await expect(tile(page, "TDS")).to_have_count(0)
        wire.mend()
        await banner.get_by_role("button", name="Try now").click()
        await expect(banner).to_contain_text(re.compile(r"[1-9]\d* missed events? replayed"))
        await expect(tile(page, "TDS").locator(".number")).to_have_text("301")
        await moves(tile(page, "Temperature", "Display tank probe"))
        await expect(banner).to_be_hidden()
        assert visit.complaints_but(LOST) == []


async def test_a_restarted_server_starts_over_by_itself(browser: Browser, demo: Server) -> None:
    async with visiting(browser, demo.url, dice=AT_ONCE) as visit:
        page = visit.page
        await live(page)
        demo.kill()
        await expect(page.locator("#phase")).to_have_text("Reconnecting")
        demo.start()
        await expect(page.locator("#banner")).to_contain_text("started over from a snapshot")
        await moves(tile(page, "Temperature", "Display tank probe"))
        assert visit.complaints_but(LOST) == []


async def test_the_demo_takes_its_token_too(visit: Visit, demo: Server) -> None:
    page = visit.page
    await sign_in(page, demo.token)
    await page.get_by_role("button", name="Log out").click()
    await page.get_by_role("button", name="Continue without a token").click()
    await live(page)
