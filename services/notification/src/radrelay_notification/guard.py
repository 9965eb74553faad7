"""Where webhooks may connect to: decided on the address itself, at the moment of connecting.

A name is resolved before the check and connected to after it, so that a name which changes its address in
between gains nothing. `ipaddress.is_global` alone is not a guard: it lets tunnels and metadata servers through.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Global by registry, yet never a hospital: each hides or relays another address, or serves a cloud's metadata.
NEVER: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # local NAT64
        "2002::/16",  # 6to4
        "::/96",  # IPv4-compatible
        "::ffff:0:0:0/96",  # IPv4-translated
        "5f00::/16",  # segment routing
        "192.88.99.0/24",  # 6to4 relays
        "192.0.0.0/24",  # protocol assignments
        "168.63.129.16/32",  # a cloud's wire server
        "224.0.0.0/4",  # multicast
        "ff00::/8",  # multicast
    )
)


class Blocked(OSError):
    """The address is private or special; an operator can allow its network."""


def may_connect(host: str, allowed: Sequence[Network], *, encrypted: bool) -> bool:
    """Public addresses over TLS; any other only in networks that the operator allowed."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if any(address in network for network in allowed):
        return True
    return encrypted and address.is_global and not any(address in network for network in NEVER)


def guarded_socket(allowed: Sequence[Network], *, encrypted: bool) -> Callable[[tuple[Any, ...]], socket.socket]:
    """A socket factory for aiohttp, which hands it each concrete address."""

    def make(address_info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = address_info
        if not may_connect(str(address[0]), allowed, encrypted=encrypted):
            raise Blocked("this address is not allowed for webhooks")
        return socket.socket(family, kind, protocol)

    return make
