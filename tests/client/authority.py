"""A certificate authority of a test, and what it signs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey


class Authority:
    """Its own certificate is in the file `ca`."""

    def __init__(self, folder: Path, name: str = "tests") -> None:
        self._folder = folder / name
        self._folder.mkdir()
        self._name = _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        made = self._certificate(self._name, self._key, days=2)
        is_authority = x509.BasicConstraints(ca=True, path_length=0)
        uses = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        made = made.add_extension(is_authority, True).add_extension(uses, True)
        self.ca = self._folder / "ca.pem"
        self.ca.write_bytes(self._signed(made))

    def server(self, address: str = "127.0.0.1", *, days: float = 1) -> Path:
        """The key and the certificate of a server at `address`; below 0 days its time is over."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        made = self._certificate(_name(address), key, days=days).add_extension(names, False)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem = self._folder / f"{address} {days}.pem"
        pem.write_bytes(secret + self._signed(made))
        return pem

    def _certificate(self, subject: x509.Name, key: Key, *, days: float) -> x509.CertificateBuilder:
        ends = datetime.now(UTC) + timedelta(days=days)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        return (
            x509.CertificateBuilder(self._name, subject, key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(ends - timedelta(days=10))
            .not_valid_after(ends)
            .add_extension(issuer, False)
            .add_extension(own, False)
        )

    def _signed(self, made: x509.CertificateBuilder) -> bytes:
        return made.sign(self._key, SHA256()).public_bytes(Encoding.PEM)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
