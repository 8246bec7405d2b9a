"""The page of a hub that is linked to a broker, which dies and comes back."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.error import HTTPError

from playwright.async_api import Browser, expect

from tests.mqtt.test_link import say
from tests.support.broker import Mosquitto, mosquitto, needs_broker
from tests.support.browser import Api, Server, token, visiting
from tests.support.waiting import wait_for

pytestmark = needs_broker

ASKED = ["status of 401"]
"""What chromium says of the answer that makes the page ask for a token."""


def furnish(server: Server, broker: Mosquitto) -> None:
    """Two devices; the probe has said something."""
    api = Api(server, token("ann"))
    wait_for(lambda: is_linked(server), "the link")
    api("POST", "aquariums", name="Reef of Ann")
    for device_id, name in (("probe", "Tank probe"), ("spare", "Spare probe")):
        api("POST", "devices", device_id=device_id, aquarium_id=1, name=name)
    say(broker, "aquabook/probe/reading", '{"temperature":25.5}')
    wait_for(lambda: api("GET", "devices/probe/status")["last_known_status"] == "online")


def is_linked(server: Server) -> bool:
    try:
        Api(server, below="/")("GET", "ready")
    except HTTPError:
        return False
    return True


async def test_a_hub_that_is_blind_says_so_and_calls_nobody_offline(
    browser: Browser, tmp_path: Path
) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        (tmp_path / ".env").write_text(f"CARDUME_MQTT_URL={broker.url}\n")
        server = Server("serve", tmp_path)
        server.start()
        try:
            furnish(server, broker)
            broker.kill()
            async with visiting(browser, server.url) as visit:
                page = visit.page
                await page.get_by_text("Use a token instead").click()
                await page.get_by_label("Token").fill(token("ann"))
                await page.get_by_role("button", name="Use this token").click()
                phase, quiet = page.locator("#phase"), page.locator("#quiet")
                await expect(phase).to_have_text("No broker")
                await expect(phase).to_have_attribute("data-look", "bad")
                await expect(quiet).to_have_text("No device is heard: what is wrong is unknown.")
                hub = page.locator("#hub")
                await expect(hub).to_contain_text(re.compile(r"not heard the MQTT broker since \d"))
                probe = page.locator(".device").filter(has_text="Tank probe").locator(".status")
                spare = page.locator(".device").filter(has_text="Spare probe").locator(".status")
                await expect(probe).to_have_text("Unknownwas online")
                await expect(spare).to_have_text("Unknownnever seen")
                broker.start()
                await expect(hub).to_contain_text("catching up")
                await expect(phase).to_have_text("Catching up")
                await expect(probe).to_have_text("Unknownwas online")
                assert visit.complaints_but(ASKED) == []
        finally:
            server.stop()
