"""TLS by the settings: on the HTTP port, and on a port of its own for MQTT."""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cardume.certificates import Certificates, Names
from cardume.errors import ConfigurationError
from cardume.mqtt.doors.tls import TlsPort
from cardume.settings import Settings

USUAL_PORT = 8883


def https(settings: Settings) -> Certificates | None:
    """What the HTTP port shows; None: it speaks plain HTTP.

    Raises:
        ConfigurationError: the files are not what they should be.
    """
    names = Names("CARDUME_TLS_CERT", "CARDUME_TLS_KEY")
    return _certificates(names, settings.tls_cert, settings.tls_key)


def pinned(settings: Settings) -> ssl.SSLContext | None:
    """For a command that asks the server beside it: the certificate in its file and no other.

    It is asked at an address of this machine, which is not a name in that certificate.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no certificate.
    """
    if not settings.tls_cert:
        return None
    # The first is the server's; whoever signed it signs for others as well.
    first = x509.load_pem_x509_certificates(Path(settings.tls_cert).read_bytes())[0]
    context = ssl.create_default_context(cadata=first.public_bytes(Encoding.DER))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def mqtt(settings: Settings) -> TlsPort | None:
    """Where MQTT over TLS is spoken; None: nowhere.

    Raises:
        ConfigurationError: the files are not what they should be, or something is missing.
    """
    names = Names("CARDUME_MQTT_TLS_CERT", "CARDUME_MQTT_TLS_KEY", "CARDUME_MQTT_TLS_CA")
    port, ca = settings.mqtt_tls_port, settings.mqtt_tls_ca
    given = (settings.mqtt_tls_cert, settings.mqtt_tls_key)
    if port is None:
        values = zip(
            (*names, "CARDUME_MQTT_TLS_HOST"), (*given, ca, settings.mqtt_tls_host), strict=True
        )
        unused = next((name for name, value in values if value), None)
        if unused is not None:
            raise ConfigurationError(
                f"{unused} is set and nobody listens: set CARDUME_MQTT_TLS_PORT, "
                f"{USUAL_PORT} is usual"
            )
        return None
    if settings.mqtt_url is not None:
        raise ConfigurationError(
            "CARDUME_MQTT_TLS_PORT is set, but with CARDUME_MQTT_URL devices speak to that broker "
            "and nobody listens here: unset one of them (CARDUME_MQTT_CA and CARDUME_MQTT_CERT "
            "are for the link)"
        )
    certificates = _certificates(names, *given, ca)
    if certificates is None:
        raise ConfigurationError(
            "CARDUME_MQTT_TLS_PORT needs a certificate: set CARDUME_MQTT_TLS_CERT and "
            "CARDUME_MQTT_TLS_KEY to files in PEM"
        )
    return TlsPort(port, certificates, settings.mqtt_tls_host)


def _certificates(
    names: Names, certificate: str | None, key: str | None, ca: str | None = None
) -> Certificates | None:
    if certificate and key:
        return Certificates(names, certificate, key, ca or None)
    if certificate or key:
        missing, other = (names.key, names[0]) if certificate else (names[0], names.key)
        raise ConfigurationError(f"{other} is set without {missing}: set both, files in PEM")
    return None
