"""What a download may cost and where it may lead: limits, addresses, the shape of a URL, and the reasons of refusal.

Pure decisions, without a connection. A list of URLs comes from strangers, so every URL and every redirect is treated as
an attempt to make this machine talk to its own network.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

from clipdata.errors import ConfigError
from clipdata.images import ImageLimits
from clipdata.plurals import counted
from ingest.web.addresses import AllowedHosts

REASONS: dict[str, str] = {
    "http_404": "the server answered with this status (any other number likewise)",
    "timeout": "no whole answer within the deadline",
    "dns": "the host name does not resolve",
    "connection": "the connection failed or broke",
    "tls": "the server's certificate or encryption is not acceptable",
    "bad_response": "the server does not speak HTTP as it should",
    "truncated": "fewer bytes came than were announced",
    "too_large": "more bytes came, or were announced, than the limit",
    "private_address": "the host, or one that it redirects to, is inside a private network or this machine",
    "bad_scheme": "the address is of another kind than http and https",
    "bad_url": "the address cannot be requested as it is written",
    "too_many_redirects": "the server sent the request on too often",
    "opt_out": "the server asks not to use the image for machine learning (X-Robots-Tag)",
    "bad_filename": "the file name is empty or leads out of its folder",
    "bad_row": "the row of the list cannot be read",
    "duplicate_key": "an earlier row of the list has the same file name, or the same URL where there are no names",
}

_PASSING = frozenset({"timeout", "dns", "connection", "tls", "truncated"})
_MAX_URL_CHARS = 8192
# Characters that stay as they are: everything RFC 3986 allows, and the percent sign of what is already escaped.
_KEPT = "%/:@!$&'()*+,;=~-._"
_EVERYWHERE = ("0.0.0.0/0", "::/0")
_OPT_OUTS = frozenset({"noai", "noimageai"})


class Refused(Exception):  # noqa: N818 - it says what happened to one URL, and never leaves this package
    """One URL gives no image.

    Args:
        reason: a key of `REASONS` or of `clipdata.images.REASONS`.
        again: whether the same request may succeed later.
        wait_s: how long the server asks to wait before that, in seconds.
    """

    def __init__(self, reason: str, detail: str, *, again: bool = False, wait_s: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.again = again
        self.wait_s = wait_s

    @property
    def is_passing(self) -> bool:
        """Whether the cause may be gone another day, so that the next run asks again.

        A network that is down refuses every URL of a list, and must not be remembered. What the server answered (gone,
        forbidden), what came (no image, too large) and where it leads stay as they are.
        """
        return self.again or self.reason in _PASSING


@dataclass(frozen=True)
class DownloadRules:
    """How to download.

    Args:
        num_in_flight: requests under way at once.
        num_per_host: of these, to one host.
        delay_s: least time between the starts of two requests to one host.
        deadline_s: limit of a request from name resolution to the last byte, redirects included.
        connect_s: limit of making a connection.
        num_retries: further tries after 408, 425, 429, 5xx, a broken connection or a timeout.
        backoff_s: wait before the first of them; it doubles each time.
        max_wait_s: longest wait that a server may ask for (Retry-After); beyond it the URL is refused.
        max_redirects: hops followed.
        max_bytes: of a body, counted as it arrives.
        allow_private: hosts inside private networks that URLs may lead to: names ("intranet.example"), addresses and
            networks ("10.1.0.0/16"). Every other one stays refused, whoever redirects to it. True allows them all.
        ignore_opt_out: take images whose server says `noai` or `noimageai`.
        user_agent: the name this client gives.
        images: limits of the image itself.

    Raises:
        ConfigError: lists every field that is out of range.
    """

    num_in_flight: int = 64
    num_per_host: int = 8
    delay_s: float = 0.0
    deadline_s: float = 30.0
    connect_s: float = 10.0
    num_retries: int = 2
    backoff_s: float = 0.5
    max_wait_s: float = 60.0
    max_redirects: int = 5
    max_bytes: int = 16 << 20
    allow_private: tuple[str, ...] | bool = ()
    ignore_opt_out: bool = False
    user_agent: str = "clipdata/0.1"
    images: ImageLimits = field(default_factory=ImageLimits)

    def __post_init__(self) -> None:
        positive = ("num_in_flight", "num_per_host", "deadline_s", "connect_s", "max_bytes")
        other = ("delay_s", "num_retries", "backoff_s", "max_wait_s", "max_redirects")
        problems = [
            f"{name} is {getattr(self, name)}; expected more than 0"
            for name in positive
            if not 0 < getattr(self, name) < math.inf
        ]
        problems += [
            f"{name} is {getattr(self, name)}; expected 0 or more"
            for name in other
            if not 0 <= getattr(self, name) < math.inf
        ]
        problems += self._problems_of_hosts()
        if problems:
            raise ConfigError(problems, what="download rules")

    @property
    def that_refuse(self) -> dict[str, Any]:
        """The rules by which a URL is refused for good, as JSON values: with others it is worth another try.

        Those of time and patience are not among them: what they refuse is tried again by every run.
        """
        names = ("max_bytes", "max_redirects", "ignore_opt_out", "user_agent")
        hosts = self.allow_private if isinstance(self.allow_private, bool) else sorted(self.allow_private)
        return {name: getattr(self, name) for name in names} | {"allow_private": hosts, "images": asdict(self.images)}

    def _problems_of_hosts(self) -> list[str]:
        if isinstance(self.allow_private, str):
            return [f"allow_private is {self.allow_private!r}; expected several hosts: ({self.allow_private!r},)"]
        try:
            self._allowed_hosts  # noqa: B018 - reading it checks it
        except ValueError as error:
            return [f"allow_private: {error}"]
        return []

    @cached_property
    def _allowed_hosts(self) -> AllowedHosts:
        if isinstance(self.allow_private, bool):
            return AllowedHosts.of(_EVERYWHERE if self.allow_private else ())
        return AllowedHosts.of(self.allow_private)

    def allows(self, address: str, host: str = "") -> bool:
        """Whether a connection to this address may be made.

        Args:
            address: as the resolver or a URL gives it, in standard form.
            host: the name that led to it, in ASCII.

        Raises:
            ValueError: it is no address.
        """
        return self._allowed_hosts.has(ipaddress.ip_address(address), host)


def split_url(text: str) -> SplitResult:
    """Check a URL and escape what has to be escaped, leaving what is escaped already as it is.

    Raises:
        Refused: bad_scheme, bad_url.
    """
    text = text.strip()
    if not text or len(text) > _MAX_URL_CHARS:
        raise Refused("bad_url", f"{counted(len(text), 'character')}; expected 1 to {_MAX_URL_CHARS:,}")
    if any(character < " " or character == "\x7f" for character in text):
        raise Refused("bad_url", "control characters inside")
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError as error:
        raise Refused("bad_url", str(error)) from None
    if parts.scheme.lower() not in ("http", "https"):
        shown = f"{parts.scheme}://" if parts.scheme else "no scheme"
        raise Refused("bad_scheme", f"{shown}; expected http:// or https://")
    if not parts.hostname:
        raise Refused("bad_url", "no host")
    if parts.username is not None or parts.password is not None:
        raise Refused("bad_url", "a user name or password inside; expected none, because URLs are stored")
    try:
        return parts._replace(
            scheme=parts.scheme.lower(),
            path=quote(parts.path or "/", safe=_KEPT),
            query=quote(parts.query, safe=_KEPT + "?"),
            fragment="",
        )
    except UnicodeEncodeError:
        raise Refused("bad_url", "characters that are not Unicode text") from None


def says_opt_out(robots_tags: list[str], user_agent: str) -> bool:
    """Whether X-Robots-Tag headers forbid the use of an image for machine learning, for everyone or for this client.

    Args:
        robots_tags: the values of all headers of that name.
        user_agent: the client's name; its part before the slash is what a header may address.
    """
    own_name = user_agent.split("/")[0].strip().lower()
    for header in robots_tags:
        addressed = True  # a header speaks to everyone until it names a client
        for directive in header.lower().split(","):
            client, colon, rest = directive.partition(":")
            if colon and client.strip() != "unavailable_after":
                addressed, directive = client.strip() == own_name, rest
            if addressed and directive.strip() in _OPT_OUTS:
                return True
    return False


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """How long a server asks to wait, in seconds: a number or a date (RFC 9110, 10.2.3)."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - now_s, 0.0)
    except ValueError:
        return None
