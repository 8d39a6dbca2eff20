"""Which addresses are of the internet, however they are written, and which hosts inside may be named."""

from __future__ import annotations

import ipaddress

import pytest

from clipdata.errors import ConfigError
from ingest.web.addresses import host_name, is_public
from ingest.web.download_rules import DownloadRules

PUBLIC = """
    1.1.1.1 8.8.8.8 11.0.0.0 93.184.216.34 100.63.255.255 100.128.0.0 126.255.255.255 169.253.255.255 172.15.255.255
    172.32.0.0 192.0.1.0 192.88.98.1 192.88.100.1 192.167.255.255 198.17.255.255 198.20.0.0 223.255.255.255
    168.63.129.15 2001:4860:4860::8888 2001:200::1 2001:db7::1 2606:4700::1111 2a00:1450:4001:81b::200e 2003::1
    2620:4f:8000::1 3ffe::1 ::ffff:8.8.8.8 64:ff9b::808:808 64:ff9b::8.8.8.8 2002:808:808::1
    2001:0:808:808:0:0:f7f7:f7f7 2606:4700::5efe:808:808
"""
PRIVATE = """
    0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.255.255.255
    168.63.129.16 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.9 192.0.0.170 192.0.0.192 192.0.2.1
    192.88.99.1 192.88.99.2 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255
    240.0.0.1 255.255.255.255
    :: ::1 ::2 ::127.0.0.1 ::10.0.0.1 ::7f00:1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:a9fe:a9fe
    ::ffff:192.88.99.1 ::ffff:0:127.0.0.1 ::ffff:0:10.0.0.1 ::ffff:0:8.8.8.8
    64:ff9b::a00:1 64:ff9b::7f00:1 64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b::c058:6301
    64:ff9b:1::a00:1 64:ff9b:1::8.8.8.8 64:ff9b:1:ffff::1
    100::1 100:0:0:1::1 1::1 200::1 1fff:ffff::1
    2001:: 2001:1::1 2001:2::1 2001:3::1 2001:10::1 2001:20::1 2001:30::1 2001:1ff:ffff::1 2001:db8::1
    2001:0:a00:1::f5ff:fffe 2001:0:7f00:1:0:0:f7f7:f7f7 2001:0:808:808:0:0:80ff:fffe
    2002:a00:1:: 2002:7f00:1::1 2002:a9fe:a9fe::1 2002:c0a8:1::1 2606:4700::5efe:a00:1 2606:4700::200:5efe:7f00:1
    3fff::1 3fff:fff:ffff::1 4000::1 5f00::1 5f00:ffff::1 6000::1 8000::1 c000::1
    fc00::1 fd00::1 fd00:ec2::254 fdff::1 fe00::1 fe80::1 fe80::1%1 fe80::1%eth0 febf::1 fec0::1 feff::1
    ff00::1 ff02::1 ff0e::1
"""


@pytest.mark.parametrize("address", PUBLIC.split())
def test_addresses_of_the_internet_are_public(address):
    assert is_public(ipaddress.ip_address(address))
    assert DownloadRules().allows(address)


@pytest.mark.parametrize("address", PRIVATE.split())
def test_addresses_inside_networks_are_not_whatever_form_they_take(address):
    assert not is_public(ipaddress.ip_address(address))
    assert not DownloadRules().allows(address)
    assert not DownloadRules(allow_private=("198.18.7.7", "intranet.example")).allows(address)
    assert DownloadRules(allow_private=True).allows(address)


def test_nothing_is_public_that_the_standard_library_knows_to_be_inside():
    blocks = "0.0.0.0/8 10.0.0.0/8 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 ::/96 fc00::/7 fe80::/10"
    for block in map(ipaddress.ip_network, blocks.split()):
        for edge in (block[0], block[1], block[-1]):
            assert not is_public(edge), edge


def test_networks_are_allowed_by_their_addresses_however_these_are_written():
    rules = DownloadRules(allow_private=("10.1.0.0/16", "fd00::/8", "[fe80::7]", "172.16.0.9"))
    for address in ("10.1.9.9", "::ffff:10.1.9.9", "64:ff9b::10.1.9.9", "fd00::7", "fe80::7", "172.16.0.9"):
        assert rules.allows(address), address
    for address in ("10.2.0.1", "::ffff:10.2.0.1", "fe80::8", "172.16.0.8", "::10.1.9.9", "64:ff9b:1::10.1.9.9"):
        assert not rules.allows(address), address


def test_a_translator_inside_may_be_allowed_and_what_it_leads_to_is_judged_still():
    rules = DownloadRules(allow_private=("64:ff9b:1::/48",))
    assert rules.allows("64:ff9b:1::8.8.8.8")
    assert not rules.allows("64:ff9b:1::10.0.0.1")


def test_a_host_is_allowed_by_its_name_and_no_other_host_with_it():
    rules = DownloadRules(allow_private=("Intranet.Example.", "bücher.example", "localhost"))
    for host in ("intranet.example", "INTRANET.example", "intranet.example.", "xn--bcher-kva.example", "localhost"):
        assert rules.allows("10.1.2.3", host), host
    for host in ("other.example", "a.intranet.example", "intranet.example.evil.example", "10.1.2.3", ""):
        assert not rules.allows("10.1.2.3", host), host


def test_a_public_address_needs_no_permission():
    assert DownloadRules(allow_private=("intranet.example",)).allows("8.8.8.8", "anywhere.example")


@pytest.mark.parametrize(
    "entry",
    ["", " ", "http://intranet.example", "intranet.example:80", "10.0.0.0/99", "10.1", "*", "*.example", "a/b", "u@h"],
)
def test_what_is_neither_host_nor_network_is_said_with_what_is_expected(entry):
    with pytest.raises(ConfigError, match=r"allow_private: .* expected such as 'intranet\.example', '10\.1\.2\.3'"):
        DownloadRules(allow_private=(entry,))


def test_hosts_are_given_as_several():
    with pytest.raises(
        ConfigError, match=r"allow_private is '10\.0\.0\.1'; expected several hosts: \('10\.0\.0\.1',\)"
    ):
        DownloadRules(allow_private="10.0.0.1")
    assert not DownloadRules(allow_private=False).allows("10.0.0.1")


def test_names_are_written_in_one_way():
    assert host_name(" Straße.Example. ") == "xn--strae-oqa.example"
    assert host_name("my_host-1") == "my_host-1"
