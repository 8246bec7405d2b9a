"""The page where a token is asked for, and what others wrote into names and notes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, expect

from tests.support.browser import Api, Server, Visit, command, token, visiting

ASKED = ["status of 401"]
"""What chromium says of an answer that is no failure of the page."""

PASSWORD = "correct horse"
MARKUP = '<img src=x onerror="window.owned=1">'


@pytest.fixture(scope="module")
def ann(house: Server) -> Api:
    """Somebody with a password, and two aquariums of hers."""
    command("user", "add", "ann", "--password-stdin", cwd=house.cwd, given=PASSWORD + "\n")
    api = Api(house, token("ann"))
    api("POST", "aquariums", name="Reef of Ann", kind="reef")
    api("POST", "aquariums", name=MARKUP)
    return api


@pytest.fixture
async def visit(browser: Browser, house: Server, ann: Api) -> AsyncIterator[Visit]:
    async with visiting(browser, house.url) as visit:
        yield visit
        assert visit.complaints_but(ASKED) == []


async def log_in(page: Page, password: str = PASSWORD) -> None:
    await page.get_by_role("textbox", name="Name").fill("ann")
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Log in").click()


async def paste(page: Page, text: str) -> None:
    await page.get_by_text("Use a token instead").click()
    await page.get_by_label("Token").fill(text)
    await page.get_by_role("button", name="Use this token").click()


async def live(page: Page) -> None:
    await expect(page.locator("#phase")).to_have_text("Live")
    await expect(page.locator("#tiles .tile")).not_to_have_count(0)


async def test_a_password_lets_in_until_one_logs_out(visit: Visit) -> None:
    page = visit.page
    await log_in(page, "wrong password")
    await expect(page.get_by_role("alert")).to_have_text("Wrong name or password.")
    await log_in(page)
    await live(page)
    await expect(page.locator("#user")).to_have_text("ann")
    await page.reload()
    await live(page)
    assert "ey" not in page.url
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("button", name="Log in")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("button", name="Log in")).to_be_visible()


async def test_a_token_lets_in_one_that_is_none_does_not(visit: Visit) -> None:
    page = visit.page
    await paste(page, "not.a.token")
    await expect(page.get_by_role("alert")).to_be_visible()
    await expect(page.locator("#page")).to_be_hidden()
    await page.get_by_label("Token").fill(f"Bearer {token('bob', 1)}")
    await page.get_by_role("button", name="Use this token").click()
    await live(page)
    await expect(page.get_by_role("heading", name="Reef of Ann")).to_be_visible()
    await expect(page.get_by_label("Aquarium")).to_be_hidden()


async def test_a_kept_token_that_is_none_any_more(visit: Visit) -> None:
    page = visit.page
    await expect(page.get_by_role("button", name="Log in")).to_be_visible()
    await page.evaluate("sessionStorage.setItem('cardume.token', 'a.b.c')")
    await page.reload()
    await expect(page.get_by_role("alert")).to_have_text("Your token is not valid any more.")


async def test_somebody_without_an_aquarium_is_told(visit: Visit) -> None:
    await paste(visit.page, token("eve"))
    await expect(visit.page.locator("#empty")).to_contain_text("no aquarium yet")
    await expect(visit.page.locator("#aquarium")).to_be_hidden()


async def test_whoever_is_sent_away_for_good_is_told_why(visit: Visit, ann: Api) -> None:
    page = visit.page
    ann("PUT", "aquariums/1/members/dan", role="member")
    await paste(page, token("dan"))
    await live(page)
    ann("DELETE", "aquariums/1/members/dan")
    await expect(page.locator("#phase")).to_have_text("Disconnected")
    await expect(page.locator("#banner")).to_contain_text("you may not see this aquarium any more")
    await expect(page.get_by_role("button", name="Try again")).to_be_visible()


async def test_markup_of_others_is_text(visit: Visit, ann: Api) -> None:
    page = visit.page
    ann("POST", "devices", device_id="evil", aquarium_id=2, name=MARKUP)
    ann("POST", "alert-rules", aquarium_id=2, name=MARKUP, metric="temperature", high=20)
    await log_in(page)
    await live(page)
    await page.get_by_label("Aquarium").select_option(MARKUP)
    await expect(page.locator("#devices")).to_contain_text(MARKUP)
    ann("POST", "aquariums/2/readings", metric="temperature", value=30, unit=MARKUP[:16])
    alert = page.locator("#alerts .alert")
    await expect(alert.get_by_role("heading")).to_have_text(MARKUP)
    await expect(page.locator("#tiles .unit").first).to_have_text(MARKUP[:16])
    await expect(page.locator("#tiles .source").first).to_have_text("by hand")
    number = ann("GET", "alerts?aquarium_id=2")["items"][0]["id"]
    ann("POST", f"alerts/{number}/ack", note=MARKUP)
    await expect(alert).to_contain_text(f"acknowledged by ann: “{MARKUP}”")
    await expect(page.locator("img[src=x]")).to_have_count(0)
    await page.reload()
    await expect(alert).to_contain_text(MARKUP)
    assert await page.evaluate("window.owned") is None
