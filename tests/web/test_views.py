"""Rooms, agents, the board and executions of a running demo: what others do is seen at once."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.support.browser import WHEN_ASKED, Api, Server, Visit, Wire, visiting

CUT = ["WebSocket connection to", "Failed to load resource: net::ERR"]
"""What chromium itself says of a server that is away."""


@pytest.fixture
async def visit(browser: Browser, demo: Server) -> AsyncIterator[Visit]:
    async with visiting(browser, demo.url) as visit:
        await expect(visit.page.locator("#phase")).to_have_text("Live")
        yield visit
        assert visit.complaints_but() == []


@pytest.fixture
def api(demo: Server) -> Api:
    return Api(demo)


@pytest.fixture
def root(demo: Server) -> Api:
    return Api(demo, below="/")


async def go(page: Page, view: str) -> None:
    await page.get_by_role("navigation").get_by_role("link", name=view).click()
    await expect(page.locator("#phase")).to_have_text("Live")


def event(page: Page, text: str) -> Locator:
    return page.locator("#feed .event").filter(has_text=text)


async def test_the_hash_says_what_is_shown(visit: Visit) -> None:
    page = visit.page
    await expect(page.get_by_role("heading", name="Sample reef")).to_be_visible()
    names = ["Aquarium", "Rooms", "Agents", "Board", "Executions"]
    await expect(page.get_by_role("navigation").get_by_role("link")).to_have_text(names)
    await go(page, "Board")
    await expect(page).to_have_url(re.compile(r"#/board$"))
    await expect(page.locator("#view-aquarium")).to_be_hidden()
    await page.go_back()
    await expect(page.locator("#tiles .tile").first).to_be_visible()
    await page.evaluate("location.hash = '#1'")
    await expect(page.locator("#tiles .tile").first).to_be_visible()
    await expect(page.locator("[aria-current=page]")).to_have_text("Aquarium")


async def test_the_feed_shows_what_its_filter_lets_through(visit: Visit, root: Api) -> None:
    page = visit.page
    await go(page, "Rooms")
    await expect(page.locator("#feed-empty")).to_contain_text("curl")
    told = {"event_type": "alert_triggered", "data": {"level": "warning", "message": "first"}}
    root("POST", "ws/broadcast", room="system", **told)
    await event(page, "warning: first").click()
    await expect(event(page, "warning: first").locator("pre")).to_contain_text('"level": "warning"')
    await expect(page.locator("#stats")).to_contain_text("In system1")

    await page.get_by_text("Only some types").click()
    await page.get_by_role("button", name="agent_created", exact=True).click()
    await expect(event(page, "warning: first")).to_have_count(0)
    # The filter is asked for on the connection, and the event by HTTP: until both have met.
    delivered = 1
    for _ in range(50):
        if not (delivered := root("POST", "ws/broadcast", room="system", **told)["delivered_to"]):
            break
    assert delivered == 0, "the server does not send what is filtered out"
    root("POST", "agents", agent_type="feeder")
    await expect(event(page, "agent_created")).to_contain_text("agent_feeder_001 is active")
    await expect(page.locator("#feed .event")).to_have_count(1)


async def test_what_is_sent_from_the_page_arrives(visit: Visit) -> None:
    page = visit.page
    await go(page, "Rooms")
    await page.get_by_text("Send an event").click()
    await page.get_by_label("Data, as a JSON object").fill("{nothing")
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(page.get_by_role("alert")).to_have_text("The data is not valid JSON.")
    await page.get_by_label("Data, as a JSON object").fill(
        '{"level": "info", "message": "<b>hi</b>"}'
    )
    await page.get_by_role("button", name="Pause").click()
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(page.locator("#broadcast-form")).to_contain_text("Sent to 1 connection.")
    await expect(event(page, "info: <b>hi</b>")).to_have_count(0)
    await page.get_by_role("button", name=re.compile(r"Go on \(\d+ new\)")).click()
    await expect(event(page, "info: <b>hi</b>")).to_have_count(1)


async def test_the_crown_goes_to_who_leads(visit: Visit, root: Api) -> None:
    page = visit.page
    await go(page, "Agents")
    await page.get_by_text("Add an agent").click()
    await page.locator("#agent-type").fill("cleaner")
    await page.locator("#agent-capabilities").fill("clean, scan")
    await page.get_by_role("button", name="Add", exact=True).click()
    first = page.locator(".agent").filter(has_text="agent_cleaner_001")
    await expect(first.locator(".tags li")).to_have_text(["clean", "scan"])
    root("POST", "agents", agent_type="cleaner")
    second = page.locator(".agent").filter(has_text="agent_cleaner_002")
    await expect(second.locator(".badge")).to_have_text("Active")

    leader = await page.locator("#leader").inner_text()
    await expect(page.locator(".agent").filter(has_text=leader)).to_have_attribute(
        "data-leader", "true"
    )
    root("POST", f"agents/{leader}/actions", action="pause")
    left = page.locator(".agent").filter(has_text=leader)
    await expect(left.locator(".badge")).to_have_text("Paused")
    await expect(page.locator("#leader")).not_to_have_text(leader)
    await expect(left.locator(".crown")).to_have_count(0)
    await expect(page.locator(".crown")).to_have_count(2)
    await expect(left.get_by_role("button")).to_have_text(
        ["Resume", "Stop", "Restart", "Heartbeat"]
    )
    await left.get_by_role("button", name="Resume").click()
    await expect(left.locator(".badge")).to_have_text("Active")


async def test_tasks_and_votes_go_their_way(visit: Visit, root: Api) -> None:
    page = visit.page
    root("POST", "agents", agent_type="voter")
    await go(page, "Agents")
    await page.get_by_text("Create a task").click()
    await page.locator("#task-type").fill("sweep")
    await page.get_by_role("button", name="Create", exact=True).click()
    task = page.locator(".task").filter(has_text="sweep")
    for step, status in [("Assign", "Assigned"), ("Start", "Started"), ("Complete", "Completed")]:
        await task.get_by_role("button", name=step).click()
        await expect(task.locator(".badge")).to_have_text(status)
    await expect(task.get_by_role("button")).to_have_count(0)

    voters = root("POST", "coordination/consensus/propose", topic="Lights off")["voters"]
    proposal = page.locator(".proposal").filter(has_text="Lights off")
    for voter in voters:
        if await proposal.get_by_role("button", name=f"Approve as {voter}").count():
            await proposal.get_by_role("button", name=f"Approve as {voter}").click()
            await expect(proposal.locator("li").filter(has_text=voter)).to_contain_text("in favour")
        if await proposal.locator(".badge").inner_text() == "Approved":
            break
    await expect(proposal.locator(".badge")).to_have_text("Approved")


def column(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


async def test_a_card_that_one_moves_moves_for_the_other(
    browser: Browser, demo: Server, visit: Visit, api: Api
) -> None:
    page = visit.page
    await go(page, "Board")
    await page.get_by_label("Add a card to Backlog").fill("Buy salt")
    await page.get_by_label("Add a card to Backlog").press("Enter")
    card = page.locator(".card-item").filter(has_text="Buy salt")
    await expect(column(page, "Backlog").locator(card)).to_be_visible()
    async with visiting(browser, f"{demo.url}/#/board") as other:
        theirs = other.page.locator(".card-item").filter(has_text="Buy salt")
        await expect(column(other.page, "Backlog").locator(theirs)).to_be_visible()
        await card.drag_to(column(page, "Test"))
        await expect(column(other.page, "Test").locator(theirs)).to_contain_text("moved by demo")
        await expect(card).not_to_contain_text("moved by")
        await expect(other.page.locator("#announcer")).to_contain_text("Buy salt, in Test")

        await theirs.get_by_role("button", name="Buy salt", exact=True).focus()
        await other.page.keyboard.press("Alt+ArrowRight")
        await expect(column(page, "Review").locator(card)).to_be_visible()
        await expect(theirs.get_by_role("button", name="Buy salt", exact=True)).to_be_focused()
        await theirs.get_by_role("button", name="Move or delete").click()
        await other.page.get_by_role("button", name="Done", exact=True).click()
        await expect(column(page, "Done").locator(card)).to_be_visible()
        assert other.complaints_but() == []


async def test_a_stale_write_takes_nothing_away(visit: Visit, api: Api) -> None:
    page = visit.page
    made = api("POST", "cards", title="Replace carbon", description="old")
    await go(page, "Board")
    await page.get_by_role("button", name="Replace carbon", exact=True).click()
    await page.get_by_label("Description").fill("what I wrote")
    path = f"cards/{made['id']}"
    api("PATCH", path, version=1, title="Replace all carbon", description="theirs")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.locator("#card-stale")).to_contain_text(
        "demo changed the title, the description"
    )
    await expect(page.locator("#card-theirs")).to_contain_text("theirs")
    await expect(page.get_by_label("Description")).to_have_value("what I wrote")
    await expect(page.get_by_label("Title", exact=True)).to_have_value("Replace all carbon")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.locator("#card-dialog")).to_be_hidden()
    kept = api("GET", path)
    assert (kept["title"], kept["description"]) == ("Replace all carbon", "what I wrote")


class Runner:
    """Writes a log as a runner does."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._seq = itertools.count(1)
        self.id = api("POST", "executions", name="sweep", command="make sweep")["execution_id"]

    def write(self, count: int, stream: str = "stdout", padding: int = 0) -> None:
        lines = [self._line(next(self._seq), stream, padding) for _ in range(count)]
        self._api("POST", f"executions/{self.id}/log", lines=lines)

    def report(self, what: str, **body: object) -> None:
        self._api("POST", f"executions/{self.id}/{what}", **body)

    def _line(self, seq: int, stream: str, padding: int) -> dict[str, object]:
        text = f"\x1b[32mline\x1b[0m {seq}{'.' * padding}"
        return {"seq": seq, "stream": stream, "text": text, "at": "2026-11-20T12:00:00.000Z"}


async def seqs(page: Page) -> list[int]:
    found: list[int] = await page.locator("#log p").evaluate_all("a => a.map(p => +p.dataset.seq)")
    return found


def line(page: Page, seq: int) -> Locator:
    return page.locator(f"#log p[data-seq='{seq}']")


async def test_a_log_tails_while_it_is_written(visit: Visit, api: Api) -> None:
    page = visit.page
    runner = Runner(api)
    await page.get_by_role("navigation").get_by_role("link", name="Executions").click()
    await page.get_by_role("link", name="sweep").click()
    await expect(page.locator("#log")).to_contain_text("Nothing written yet.")
    runner.write(1500)
    runner.write(1, "stderr")
    await expect(line(page, 1501)).to_be_in_viewport()
    await expect(line(page, 1501)).to_have_text("line 1501")
    runner.report("progress", done=3, total=4, message="almost")
    await expect(page.locator("#run-done")).to_have_text("3 of 4 (75 %), almost")

    await page.locator("#log").hover()
    await page.mouse.wheel(0, -3000)
    await expect(page.get_by_role("button", name="Follow")).to_be_visible()
    place = await page.locator("#log").evaluate("log => log.scrollTop")
    runner.write(100)
    await expect(line(page, 1601)).to_have_count(1)
    assert await page.locator("#log").evaluate("log => log.scrollTop") == place
    await page.get_by_role("button", name="Follow").click()
    await expect(line(page, 1601)).to_be_in_viewport()
    runner.write(1)
    await expect(line(page, 1602)).to_be_in_viewport()

    runner.report("fail", exit_code=2)
    await expect(page.locator("#run-status")).to_have_text("Failed")
    await expect(page.locator("#run-facts")).to_contain_text("exit code 2")
    assert await seqs(page) == list(range(1, 1603))


async def test_a_late_viewer_reads_all_of_it_upwards(visit: Visit, api: Api) -> None:
    page = visit.page
    runner = Runner(api)
    for _ in range(4):
        runner.write(2000)
    await page.goto(re.sub(r"#.*", "", page.url) + f"#/executions/{runner.id}")
    await expect(line(page, 8000)).to_be_in_viewport()
    assert await seqs(page) == list(range(7501, 8001))
    await page.locator("#log").focus()
    for first in range(7001, 0, -500):
        await page.locator("#log").evaluate("log => log.scrollTop = 0")
        await expect(line(page, first)).to_have_count(1)
    shown = await seqs(page)
    assert shown == list(range(1, 5001)), "a run without a hole, and bounded"
    await page.get_by_role("button", name="Follow (3,000 more below)").click()
    await expect(line(page, 8000)).to_be_in_viewport()
    shown = await seqs(page)
    assert shown == list(range(shown[0], 8001))


async def test_a_cut_wire_leaves_no_hole_in_a_log(browser: Browser, demo: Server, api: Api) -> None:
    runner = Runner(api)
    runner.write(700)
    wire, path = Wire(demo.port), f"#/executions/{runner.id}"
    async with (
        wire.relaying(),
        visiting(browser, f"{wire.url}/{path}", dice=WHEN_ASKED) as visit,
    ):
        page = visit.page
        await expect(line(page, 700)).to_be_in_viewport()
        wire.cut()
        await expect(page.locator("#banner")).to_contain_text("Connection lost")
        # More than a replay may hold: the server gives its last lines, and the page fills the hole.
        for _ in range(12):
            runner.write(100, padding=600)
        wire.mend()
        await page.get_by_role("button", name="Try now").click()
        await expect(page.locator("#banner")).to_contain_text("started over from a snapshot")
        await expect(line(page, 1900)).to_be_in_viewport()
        runner.write(5)
        await expect(line(page, 1905)).to_be_in_viewport()
        assert await seqs(page) == list(range(201, 1906))
        assert visit.complaints_but(CUT) == []
