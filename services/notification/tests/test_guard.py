"""Where webhooks may go, decided on addresses that fooled other senders."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from radrelay_notification.guard import may_connect


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1",
        "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::127.0.0.1", "::ffff:0:7f00:1", "5f00::1",
        "168.63.129.16", "224.0.0.1", "192.0.0.192", "192.88.99.1", "fe80::1%eth0", "fc00::1", "64:ff9b:1::1",
        "240.0.0.1", "198.18.0.1",
    ],
)  # fmt: skip
def test_private_special_and_tunnelled_addresses_are_blocked(address: str) -> None:
    assert not may_connect(address, (), encrypted=True)


def test_a_public_address_is_called_over_tls_only() -> None:
    assert may_connect("93.184.215.14", (), encrypted=True)
    assert not may_connect("93.184.215.14", (), encrypted=False)


def test_a_hospital_in_an_allowed_private_network_is_called_even_without_tls() -> None:
    hospital = (ip_network("10.20.0.0/16"),)
    assert may_connect("10.20.3.4", hospital, encrypted=False)
    assert not may_connect("10.21.3.4", hospital, encrypted=True)
