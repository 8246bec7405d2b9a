"""Why a call was declined, as the server API says it."""

from __future__ import annotations

import logging

from pydantic import ValidationError

from cardume.errors import Invalid, Refused, Unavailable
from cardume.hub.faults import describe
from cardume.transports.server_api.results import Error
from cardume.wire import codes
from cardume.wire.codes import ErrorCode

logger = logging.getLogger("cardume.transports")


def error_of(error: Exception) -> Error:
    """What the member `error` of an answer says of it; a bug of ours is one, and logged."""
    match error:
        case ValidationError():
            return _said(codes.BAD_REQUEST, describe(error))
        case Invalid():
            return _said(codes.BAD_REQUEST, str(error))
        case Refused():
            return _said(error.code, error.message)
        case Unavailable():
            # As Centrifugo's: its 108 means that there is no such thing here.
            return _said(codes.INTERNAL, "nothing was kept; try again")
    logger.error("a call of the server API failed", exc_info=error)
    return _said(codes.INTERNAL, codes.INTERNAL.message)


def _said(code: ErrorCode, message: str) -> Error:
    return {"code": code.number, "message": message}
