"""The view of agents, while its server answers badly."""

from __future__ import annotations

from playwright.async_api import Browser, Route, expect

from tests.support.browser import Server, visiting


async def test_what_could_not_be_read_is_asked_for_again(browser: Browser, demo: Server) -> None:
    async def refuse(route: Route) -> None:
        await route.fulfill(status=503, json={"detail": "not now"})

    async with visiting(browser, demo.url) as visit:
        page = visit.page
        await expect(page.locator("#phase")).to_have_text("Live")
        await page.route("**/agents?limit=*", refuse, times=1)
        async with page.expect_response("**/agents?limit=*") as refused:
            await page.get_by_role("link", name="Agents").click()
        assert (await refused.value).status == 503
        nobody = page.locator("#agents-empty")
        await expect(nobody).to_be_hidden()  # nobody knows that yet
        async with page.expect_response("**/agents?limit=*", timeout=5000) as again:
            await page.evaluate("(real => (Date.now = () => real() + 11_000))(Date.now)")
        assert (await again.value).status == 200
        await expect(nobody).to_be_visible()
        assert visit.complaints_but(["status of 503"]) == []
