"""The one table of faults (DESIGN §5)."""

from __future__ import annotations

import pytest

from cardume.wire import codes
from cardume.wire.codes import (
    CLOSES,
    ERRORS,
    CloseCode,
    ErrorCode,
    close_of_status,
    error_of_status,
)

DESIGN_CLOSES = {
    1003,
    1009,
    *(3001, 3004, 3005, 3006, 3008, 3009, 3010, 3011, 3012, 3013),
    *range(3500, 3510),
}


def named(kind: type) -> list[str]:
    return [name for name, value in vars(codes).items() if isinstance(value, kind)]


def test_every_close_code_of_the_design_is_there() -> None:
    assert set(CLOSES) >= DESIGN_CLOSES


def test_numbers_and_names_are_unique() -> None:
    assert len(CLOSES) == len(named(CloseCode))
    assert len(ERRORS) == len(named(ErrorCode))
    assert len({code.name for code in ERRORS.values()}) == len(ERRORS)
    assert len({code.reason for code in CLOSES.values()}) == len(CLOSES)


@pytest.mark.parametrize("code", CLOSES.values(), ids=lambda code: str(code.number))
def test_whether_to_come_back_follows_from_the_number(code: CloseCode) -> None:
    number = code.number
    if 3000 <= number < 4000:
        assert code.reconnect == (number < 3500)
    assert len(code.reason.encode()) <= 123  # RFC 6455 §5.5: 125 bytes of which two are the code


def test_the_ranges_that_centrifugo_leaves_to_applications() -> None:
    assert CloseCode(4000, "ours, come back").reconnect
    assert not CloseCode(4500, "ours, stay away").reconnect


def test_errors_are_centrifugos_or_from_400() -> None:
    assert all(100 <= number <= 113 or 400 <= number < 500 for number in ERRORS)
    assert all(400 <= code.status < 600 for code in ERRORS.values())


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "bad_request"),
        (401, "unauthorized"),
        (403, "permission_denied"),
        (404, "not_found"),
        (409, "conflict"),
        (413, "limit_exceeded"),
        (418, "bad_request"),
        (422, "invalid_fields"),
        (429, "rate_limited"),
        (500, "internal"),
        (503, "not_available"),
    ],
)
def test_errors_of_http(status: int, name: str) -> None:
    assert error_of_status(status).name == name


@pytest.mark.parametrize(
    ("status", "number"),
    [(401, 3500), (403, 3507), (404, 3508), (410, 3508), (418, 3507), (422, 3501), (429, 3013)]
    + [(status, 3004) for status in (500, 502, 503)],
)
def test_closes_of_http(status: int, number: int) -> None:
    assert close_of_status(status).number == number
