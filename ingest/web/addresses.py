"""Which addresses belong to the public internet, and so to nobody that this machine trusts more than a stranger.

An address is judged with all that it stands for: an IPv6 address may carry an IPv4 one through a translation or a
tunnel, and then both must be public. Pure decisions: nothing here resolves a name or connects.

Source: IANA IPv4 and IPv6 Special-Purpose Address Registries, both as of 2025-10-09, and the IPv6 Address Space
registry, by which all public unicast addresses are in 2000::/3.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# The registry's blocks that are not globally reachable. Where it excepts a single address of a block (192.0.0.9, the
# nearest port control server), no image is to be had there, and the machine that answers is one's own router.
_SPECIAL_IPV4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private use
            "100.64.0.0/10",  # shared by the customers of a provider
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local, and where clouds keep the credentials of their machines
            "172.16.0.0/12",  # private use
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # the nearest 6to4 relay, deprecated
            "192.168.0.0/16",  # private use
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and the broadcast
            "168.63.129.16/32",  # in no registry: the platform behind every machine in Azure
        ),
    )
)
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocol assignments; of these only Teredo addresses stand for hosts
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation
        ),
    )
)
_TEREDO = ipaddress.IPv6Network("2001::/32")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # of the whole internet: as public as what it leads to
# The last 32 bits of these are an IPv4 address. What makes them reach it is inside one's own network.
_LOCAL_FORMS = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "::/96",  # IPv4-compatible, RFC 4291 (deprecated)
            "::ffff:0:0:0/96",  # IPv4-translated, RFC 2765
            "64:ff9b:1::/48",  # NAT64 of one network, RFC 8215
        ),
    )
)
_ISATAP = (0x00005EFE, 0x02005EFE)  # the third quarter of the address, RFC 5214
_LOW_32 = 0xFFFFFFFF
_NAME = re.compile(r"(?=.*[^0-9.])[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


def is_public(address: Address) -> bool:
    """Whether an address, and every other that it leads to, belongs to the public internet."""
    return all(map(_is_public_itself, all_addresses(address)))


def all_addresses(address: Address) -> tuple[Address, ...]:
    """An address and the IPv4 addresses inside it. One that is only another way to write an IPv4 address is that."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    return (address, *_inner(address))


def _inner(address: ipaddress.IPv6Address) -> Iterable[ipaddress.IPv4Address]:
    bits = int(address)
    last = ipaddress.IPv4Address(bits & _LOW_32)
    if address in _NAT64 or any(address in form for form in _LOCAL_FORMS):
        return (last,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo  # the server, and the client that it leads to
    return (last,) if (bits >> 32) & _LOW_32 in _ISATAP else ()


def _is_public_itself(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in block for block in _SPECIAL_IPV4)
    if address in _NAT64 or address in _TEREDO:
        return True
    return address in _GLOBAL_IPV6 and not any(address in block for block in _SPECIAL_IPV6)


@dataclass(frozen=True)
class AllowedHosts:
    """Hosts inside private networks that URLs may lead to.

    Args:
        names: host names, as `host_name` gives them; whatever they resolve to is allowed.
        networks: addresses, whatever name leads to them.
    """

    names: frozenset[str]
    networks: tuple[Network, ...]

    @classmethod
    def of(cls, entries: Iterable[str]) -> AllowedHosts:
        """Read what a person wrote: host names, addresses and networks.

        Raises:
            ValueError: an entry is none of these; the message says what is expected.
        """
        names, networks = set(), []
        for entry in entries:
            network = _network(entry)
            if network is None:
                names.add(host_name(entry))
            else:
                networks.append(network)
        return cls(frozenset(names), tuple(networks))

    def has(self, address: Address, host: str = "") -> bool:
        """Whether this address is allowed, reached by this host name: itself, and every other that it leads to.

        Args:
            host: as in a URL, in ASCII.
        """
        if host.lower().rstrip(".") in self.names:
            return True
        return all(_is_public_itself(one) or self._holds(one) for one in all_addresses(address))

    def _holds(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


def host_name(text: str) -> str:
    """One way to write a host name: ASCII, lower case, without the dot at the end.

    Raises:
        ValueError: it is no host name.
    """
    name = text.strip().rstrip(".").lower()
    if not name.isascii():
        from yarl import URL  # as URLs are read: there are two ways to write such a name in ASCII

        try:
            name = URL.build(scheme="http", host=name).raw_host or ""
        except ValueError:
            name = ""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{text!r} is neither a host, an address nor a network; expected such as 'intranet.example', '10.1.2.3' "
            "or '10.1.0.0/16', without scheme and port"
        )
    return name


def _network(text: str) -> Network | None:
    """The network of an address or a network as a person writes it; None where it looks like a name."""
    written = text.strip().removeprefix("[").removesuffix("]")
    try:
        return ipaddress.ip_network(written, strict=False)
    except ValueError:
        return None
