"""The log: batches in, gaps and repeats, limits, pages out."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.apps.executions import batch
from cardume.apps.executions import log as log_module
from cardume.errors import Invalid, Refused
from tests.apps.executions.works import AT, Works, line, lines, seqs
from tests.support.databases import on_both

pytestmark = on_both


async def test_lines_are_kept_announced_and_read_as_they_were_sent(works: Works) -> None:
    id = await works.begin()
    peer = await works.watch(id)
    sent = [line(1, "héllo\x00\x1b[31m\u2028 \U0001f41f"), line(2, "", stream="stderr")]
    assert await works.write(id, sent) == {"last_seq": 2, "status": "running"}
    [event] = peer.of_type("log")
    assert event["data"] == {"lines": sent, "first_seq": 1, "last_seq": 2}
    page = await works.log(id)
    assert page == {
        "lines": sent, "first_seq": 1, "last_seq": 2, "previous": None, "next": None,
        "status": "running",
    }  # fmt: skip
    shown = await works.get(id)
    assert (shown["first_seq"], shown["last_seq"]) == (1, 2)
    stored = json.dumps(sent, separators=(",", ":"), ensure_ascii=False)
    assert shown["log_bytes"] == len(stored.encode())
    assert shown["version"] == 1


async def test_lines_already_held_are_ignored(works: Works) -> None:
    id = await works.begin()
    peer = await works.watch(id)
    await works.write(id, lines(1, 3))
    await works.write(id, lines(1, 3))
    await works.write(id, [line(2, "another text"), *lines(3, 5), line(5), line(4)])
    assert [event["data"]["last_seq"] for event in peer.of_type("log")] == [3, 5]
    assert await works.whole_log(id) == lines(1, 5)


@pytest.mark.parametrize(
    "sent", [lines(5, 6), [*lines(4, 5), line(7)], [line(6), line(4)], [line(2**53 - 1)]]
)
async def test_after_a_gap_nothing_is_kept_and_the_answer_says_where_to_go_on(
    works: Works, sent: list[Any]
) -> None:
    id = await works.begin()
    await works.write(id, lines(1, 3))
    answer = await works.call("POST", f"/executions/{id}/log", {"lines": sent})
    assert answer.status_code == 409
    assert answer.json()["expected"] == 4
    assert await works.whole_log(id) == lines(1, 3)


async def test_a_long_line_is_cut_between_characters_and_says_so(works: Works) -> None:
    id = await works.begin()
    long = [line(1, "x" * 1_000_000), line(2, "é" * 8192), line(3, "x" + "é" * 9000)]
    for each in long:
        await works.write(id, [each])
    first, second, third = await works.whole_log(id)
    assert first == line(1, "x" * 16_384, truncated=True)
    assert second == line(2, "é" * 8192)  # exactly 16 KiB
    assert third["truncated"]
    assert third["text"] == "x" + "é" * 8191  # half of the next would still fit
    await works.write(id, [line(4, "short", truncated=True), line(5, truncated=False)])
    assert (await works.log(id, after=3))["lines"] == [line(4, "short", truncated=True), line(5)]


async def test_a_line_of_1_mb_and_more_lines_than_allowed_are_413(works: Works) -> None:
    id = await works.begin()
    for sent in ([line(1, "x" * 1024 * 1024)], lines(1, 2001)):
        answer = await works.call("POST", f"/executions/{id}/log", {"lines": sent})
        assert answer.status_code == 413
        assert answer.json()["code"] == "limit_exceeded"

    async def unannounced() -> Any:
        for _ in range(20):
            yield b" " * 65_536

    answer = await works.raw(f"/executions/{id}/log", unannounced())
    assert answer.status_code == 413
    assert (await works.get(id))["last_seq"] == 0
    assert (await works.write(id, lines(1, 2000)))["last_seq"] == 2000


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\x89PNG\r\n\x1a\n\x00", 400),
        (b'{"lines":[', 400),
        (b'{"lines":[{"seq":1,"stream":"stdout","text":"\xff","at":"%b"}]}' % AT.encode(), 400),
        (b'{"lines":[{"seq":1,"stream":"stdout","text":"\\ud800","at":"%b"}]}' % AT.encode(), 400),
        (b"[" * 100_000, 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"lines":[],"more":1}', 422),
        (b'{"lines":[{"seq":1e999,"stream":"stdout","text":"","at":""}]}', 422),
        (b'{"lines":[{"seq":NaN,"stream":"stdout","text":"","at":""}]}', 400),
    ],
)
async def test_what_is_no_batch_is_a_typed_refusal(works: Works, body: bytes, status: int) -> None:
    id = await works.begin()
    answer = await works.raw(f"/executions/{id}/log", body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await works.get(id))["last_seq"] == 0


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"seq": 0}, "lines[1].seq"),
        ({"seq": True}, "lines[1].seq"),
        ({"seq": 2**53}, "lines[1].seq"),
        ({"stream": "secret"}, "lines[1].stream"),
        ({"text": None}, "lines[1].text"),
        ({"secret": 1}, "lines[1]"),
        ({"at": "secret"}, "lines[1].at"),
        ({"at": "2026-11-20T12:00:00"}, "lines[1].at"),
        ({"at": "0001-01-01T00:00:00+23:59"}, "lines[1].at"),
        ({"at": "9999-12-31T23:59:59-23:59"}, "lines[1].at"),
    ],
)
def test_a_refusal_names_the_line_and_never_quotes_it(wrong: dict[str, Any], place: str) -> None:
    body = json.dumps({"lines": [line(1), {**line(2), **wrong}]}).encode()
    with pytest.raises(Invalid) as caught:
        batch.parse(body)
    assert str(caught.value).startswith(f"{place}: a line is")
    assert "secret" not in str(caught.value)


def test_times_are_given_in_one_form() -> None:
    sent = [line(1, at="2026-11-20T13:00:00.1239+01:00"), line(2, at="2026-11-20T12:00:00Z")]
    kept = batch.parse(json.dumps({"lines": sent}).encode()).after(0)
    assert [json.loads(each)["at"] for each in kept] == [AT, "2026-11-20T12:00:00.000Z"]


@given(
    st.lists(st.integers(1, 12), max_size=12),
    st.integers(0, 10),
)
def test_a_batch_is_what_its_lines_one_by_one_would_be(sent: list[int], held: int) -> None:
    parsed = batch.parse(json.dumps({"lines": [line(seq) for seq in sent]}).encode())
    last, gap = held, False
    for seq in sent:
        gap |= seq > last + 1
        last += seq == last + 1
    if gap:
        with pytest.raises(Refused) as caught:
            parsed.after(held)
        assert caught.value.extra == {"expected": held + 1}
    else:
        new = parsed.after(held)
        assert [json.loads(each)["seq"] for each in new] == list(range(held + 1, last + 1))


@given(st.lists(st.binary(max_size=30), max_size=40), st.integers(2, 100))
def test_chunks_hold_all_lines_in_order_within_their_size(items: list[bytes], most: int) -> None:
    runs = batch.chunks(items, most)
    assert [item for run in runs for item in run] == items
    assert all(len(run) == 1 or len(batch.array(run)) <= most for run in runs)
    for run, following in pairwise(runs):  # and no smaller than they have to be
        assert len(batch.array([*run, following[0]])) > most


async def test_a_large_batch_is_several_publications_that_an_outbox_takes(works: Works) -> None:
    id = await works.begin()
    peer = await works.watch(id)
    sent = lines(1, 1500, 600)
    await works.write(id, sent)
    events = [event["data"] for event in peer.of_type("log")]
    assert len(events) >= 8
    assert [each for event in events for each in event["lines"]] == sent
    assert all(len(json.dumps(event)) < 1.2 * log_module.PUBLICATION for event in events)
    assert await works.whole_log(id) == sent


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 10, 100, 5000])
async def test_pages_of_any_size_hold_every_line_once_in_both_directions(
    works: Works, limit: int
) -> None:
    id = await works.begin()
    last = 0
    for count in (1, 2, 5, 1, 9, 4):
        await works.write(id, lines(last + 1, last + count))
        last += count
    assert seqs(await works.whole_log(id, limit)) == list(range(1, last + 1))

    found: list[int] = []
    before: int | None = last + 1
    while before is not None:
        page = await works.log(id, before=before, limit=limit)
        assert len(page["lines"]) <= limit
        assert page["first_seq"] == page["lines"][0]["seq"]
        assert page["last_seq"] == page["lines"][-1]["seq"] == before - 1
        found[:0] = seqs(page["lines"])
        before = page["previous"]
    assert found == list(range(1, last + 1))

    middle = await works.log(id, after=7, limit=limit)
    assert seqs(middle["lines"]) == list(range(8, min(last, 7 + limit) + 1))
    assert middle["previous"] == 8


async def test_a_page_is_bounded_in_bytes_too(works: Works) -> None:
    id = await works.begin()
    for start in range(1, 2001, 500):
        await works.write(id, lines(start, start + 499, 1000))
    first = await works.log(id, limit=5000)
    last = await works.log(id, before=2001, limit=5000)
    for page in (first, last):
        assert 700 < len(page["lines"]) < 1100
    assert first["next"] == first["last_seq"]
    assert last["last_seq"] == 2000
    assert last["previous"] == last["first_seq"]
    assert seqs(await works.whole_log(id, 5000)) == list(range(1, 2001))


async def test_pages_beyond_either_end_are_empty(works: Works) -> None:
    id = await works.begin()
    empty: dict[str, Any] = {"lines": [], "previous": None, "next": None, "status": "running"}
    assert await works.log(id) == {**empty, "first_seq": 1, "last_seq": 0}
    await works.write(id, lines(1, 3))
    beyond = {**empty, "first_seq": 4, "last_seq": 3, "previous": 4}
    assert await works.log(id, after=3) == await works.log(id, after=99) == beyond
    above = {**empty, "first_seq": 1, "last_seq": 0, "next": 0}
    assert await works.log(id, before=1) == await works.log(id, before=0) == above
    for query in ("after=1&before=2", "after=-1", "limit=0", "limit=5001", f"after={2**53 + 1}"):
        assert (await works.call("GET", f"/executions/{id}/log?{query}")).status_code == 422


async def test_the_oldest_lines_go_when_there_are_too_many_and_the_view_says_so(
    database: Any,
) -> None:
    async with Works.running(database, keep_bytes=20_000) as works:
        id = await works.begin()
        for start in range(1, 1001, 50):
            await works.write(id, lines(start, start + 49))
        shown = await works.get(id)
        assert shown["last_seq"] == 1000
        first = shown["first_seq"]
        assert 1 < first < 1000
        assert first % 50 == 1
        assert shown["log_bytes"] <= 20_000
        found = await works.whole_log(id)
        assert seqs(found) == list(range(first, 1001))
        page = await works.log(id, after=1, limit=3)
        assert (page["first_seq"], page["previous"]) == (first, None)
        assert (await works.log(id, before=first))["lines"] == []
        # What was dropped is held all the same: it does not come back.
        assert (await works.write(id, lines(1, 5)))["last_seq"] == 1000
        assert (await works.get(id))["first_seq"] == first
