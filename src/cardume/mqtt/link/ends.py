"""How a connection to a broker ends, in words for people: no credentials, no quoted bytes."""

from __future__ import annotations

import os
import socket
import ssl

import msgspec


class Ended(msgspec.Struct, frozen=True):
    """Why a connection is over, for people."""

    why: str
    taken_over: bool = False
    """Another client came with our client id."""
    wrong_version: bool = False
    """The broker does not speak this version of MQTT."""
    hung_up: bool = False
    """The broker closed without a word, after it had granted the subscription."""


def failure(error: OSError) -> str:
    """In words without credentials."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'no reason given'}"
    if isinstance(error, socket.gaierror):
        return f"its host is not found: {error.strerror}"
    return os.strerror(error.errno).lower() if error.errno else "nobody answers"


def broken(error: Exception) -> str:
    why = failure(error) if isinstance(error, OSError) else type(error).__name__
    return f"the connection broke: {why}"
