"""Who may open the page, and how: names, password, HTTPS, how many at once."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from integration.errors import IntegrationError

__all__ = ["LOOPBACK_NAMES", "Access", "login_of"]

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
SHORTEST_PASSWORD: Final = 8
MADE_UP_BYTES: Final = 12


def login_of(given: str) -> str:
    """Complete what `--auth` was given, making up a password where there is none.

    A password of one's own can be seen in the list of processes by everybody on this machine.

    >>> login_of("me:long enough")
    'me:long enough'
    """
    return given if ":" in given else f"{given}:{secrets.token_urlsafe(MADE_UP_BYTES)}"


@dataclass(frozen=True)
class Access:
    """Who may open the page, and how.

    Attributes:
        host: Address that is served on.
        login: "name:password" that a browser is asked for, or None for nobody.
        certificate: PEM file of the certificate chain for HTTPS, or None for HTTP.
        key: PEM file of its private key; None where the certificate's file holds it.
        public_name: Name by which a proxy on this machine serves the page, if any does.
        talks: How many talks there may be at once.

    Raises:
        IntegrationError: If an address that others reach has no login, or a value is out of range.
    """

    host: str = "127.0.0.1"
    login: str | None = field(default=None, repr=False)
    certificate: Path | None = None
    key: Path | None = None
    public_name: str | None = None
    talks: int = 8

    def __post_init__(self) -> None:
        _check_login(self.login)
        if self.login is None and not self.is_local:
            raise IntegrationError(
                f"Expected --auth NAME with --host {self.host}, because everybody who reaches "
                "that address could talk here; got none."
            )
        if self.talks < 1:
            raise IntegrationError(f"Expected --talks of at least 1, got {self.talks}.")
        if self.key is not None and self.certificate is None:
            raise IntegrationError(f"Expected --tls-cert with --tls-key {self.key}, got none.")
        if self.certificate is not None:
            _check_certificate(self.certificate, self.key)

    @property
    def is_local(self) -> bool:
        """Whether this machine alone reaches the page."""
        return is_loopback(self.host)

    @property
    def scheme(self) -> str:
        """Either "http" or "https"."""
        return "http" if self.certificate is None else "https"

    @property
    def names(self) -> frozenset[str] | None:
        """Names the server may be called by; None for any.

        To an address of this machine alone no other name leads honestly, but that of a proxy.
        """
        if not self.is_local:
            return None
        proxy = {self.public_name.lower()} if self.public_name else set()
        return LOOPBACK_NAMES | {self.host.lower()} | proxy


def is_loopback(host: str) -> bool:
    """Say whether an address or name is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _check_login(login: str | None) -> None:
    name, _, password = (login or "").partition(":")
    if login is not None and not (name and len(password) >= SHORTEST_PASSWORD):
        raise IntegrationError(
            f"Expected --auth NAME or NAME:PASSWORD with a password of {SHORTEST_PASSWORD} "
            f"characters, got a name of {len(name)} and a password of {len(password)}."
        )


def _check_certificate(certificate: Path, key: Path | None) -> None:
    import ssl

    try:
        # a key that is locked would be asked for in the middle of the start
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        files = f"{certificate}" if key is None else f"{certificate} and {key}"
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise IntegrationError(
            f"Expected a certificate and its unlocked key in PEM form, got {files} ({reason})."
        ) from error
