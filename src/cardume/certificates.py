"""A certificate and its key on disk, checked before anybody is shown them, and read anew when
they are renewed."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509

from cardume.errors import ConfigurationError

LOOK_EVERY: Final = 60.0
"""Seconds between two looks at the files."""
DAY: Final = 86_400.0

log = logging.getLogger("cardume.certificates")

_Stamp = tuple[tuple[int, int], ...]


class Names(NamedTuple):
    """What the settings are called, for messages."""

    certificate: str
    key: str
    authority: str = ""


class Certificates:
    """The TLS context of a server: TLS 1.2 at least; client certificates are required with `ca`.

    `context` stays the same object: whoever connects after a renewal is shown the new certificate.

    Raises:
        ConfigurationError: a file is missing, unreadable, no PEM, or the key is another's.
    """

    def __init__(self, names: Names, certificate: str, key: str, ca: str | None = None) -> None:
        self._names = names
        self._chain = _file(names.certificate, certificate, "CERTIFICATE")
        self._key = _file(names.key, key, "PRIVATE KEY")
        self._ca = ca
        self._stamp = self._stamped()
        self._looked = 0.0
        self.context = self._made()
        self.expires = self._expires()
        """Wall-clock seconds since the Unix epoch."""

    def refresh(self, now: float) -> None:
        """Take the files as they are now, if they are others; `now` is monotonic.

        While a renewal is half written the old certificate stays, and the log says why.
        """
        if now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        stamp = self._stamped()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._made()  # a context that is in use must not see a key without its certificate
            self.context.load_cert_chain(self._chain, self._key, _no_password)
            self.expires = self._expires()
        except (ConfigurationError, OSError, ValueError) as error:
            log.warning("the renewed certificate is not used: %s", error)
        else:
            log.info("the certificate in %s was renewed", self._chain)

    def _stamped(self) -> _Stamp:
        return tuple(_stamp_of(path) for path in (self._chain, self._key))

    def _made(self) -> ssl.SSLContext:
        names, chain, key = self._names, self._chain, self._key
        _file(names.certificate, str(chain), "CERTIFICATE")
        _file(names.key, str(key), "PRIVATE KEY")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        try:
            context.load_cert_chain(chain, key, _no_password)
        except _EncryptedError:
            raise ConfigurationError(
                f"{names.key}: {key} is encrypted, and nobody is there to type its password: "
                f"write it without one (openssl pkey -in {key} -out plain.pem)"
            ) from None
        except (OSError, ValueError) as error:
            raise ConfigurationError(_mismatch(names, chain, key, error)) from None
        if self._ca is not None:
            authority = _file(names.authority, self._ca, "CERTIFICATE")
            try:
                context.load_verify_locations(authority)
            except (OSError, ValueError) as error:
                raise ConfigurationError(
                    f"{names.authority}: {authority} cannot be used ({_reason(error)})"
                ) from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _expires(self) -> float:
        """Of the first in the chain: the others are the issuer's care."""
        first = x509.load_pem_x509_certificates(self._chain.read_bytes())[0]
        return first.not_valid_after_utc.timestamp()


class _EncryptedError(Exception):
    pass


def _no_password() -> str:
    # Without this OpenSSL would ask at the terminal, and wait.
    raise _EncryptedError


def _file(name: str, given: str, kind: str) -> Path:
    """The path, once it is known to hold PEM of that kind."""
    path = Path(given)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{name}: cannot read {path} ({error.strerror})") from None
    if not any(
        line.startswith(b"-----BEGIN ") and kind.encode() in line for line in text.split(b"\n")
    ):
        what = "no certificate" if kind == "CERTIFICATE" else "no private key"
        raise ConfigurationError(f"{name}: {path} holds {what} in PEM (-----BEGIN {kind}-----)")
    return path


def _stamp_of(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_ino)


def _mismatch(names: Names, chain: Path, key: Path, error: Exception) -> str:
    reason = _reason(error)
    if reason == "KEY_VALUES_MISMATCH":
        return f"{names.key}: the key in {key} is not that of the certificate in {chain}"
    return f"{names.certificate}: {chain} with {key} cannot be used ({reason})"


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
