from __future__ import annotations

import ipaddress

import pytest

from ingest.web.download_rules import DownloadRules, Refused, is_public, retry_after_s, says_opt_out, split_url


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_of_the_internet_are_public(address):
    assert is_public(ipaddress.ip_address(address))
    assert DownloadRules().allows(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "192.0.2.1",
        "224.0.0.1",
        "::1",
        "fe80::1%eth0",
        "fc00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "2001:db8::1",
        "2001:0:7f00:1::",
        "ff02::1",
    ],
)
def test_addresses_inside_networks_are_not(address):
    assert not DownloadRules().allows(address)
    assert DownloadRules(allow_private=True).allows(address)


def test_a_private_network_may_be_allowed_by_name():
    rules = DownloadRules(private_networks=("10.1.0.0/16", "fd00::/8"))
    assert rules.allows("10.1.9.9")
    assert rules.allows("::ffff:10.1.9.9")
    assert rules.allows("fd00::7")
    assert not rules.allows("10.2.0.1")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTP://Example.com", "http://Example.com/"),
        (" https://x/a b.jpg ", "https://x/a%20b.jpg"),
        ("https://x/a%20b.jpg?q=%2F&r=a+b#part", "https://x/a%20b.jpg?q=%2F&r=a+b"),
        ("https://x/图.jpg?题=1", "https://x/%E5%9B%BE.jpg?%E9%A2%98=1"),
        ("https://x:8443/a;b=1,2/@c", "https://x:8443/a;b=1,2/@c"),
    ],
)
def test_urls_are_escaped_where_needed_and_left_alone_elsewhere(url, expected):
    assert split_url(url).geturl() == expected


@pytest.mark.parametrize(
    "url", ["", "http://x/" + "a" * 8192, "http://", "http://x:port/", "http://u@x/", "http://x/\x00"]
)
def test_urls_that_cannot_be_requested_are_refused(url):
    with pytest.raises(Refused, match="bad_url"):
        split_url(url)


def test_retry_after_is_read_as_seconds_and_as_a_date():
    assert retry_after_s({"Retry-After": "120"}, 0) == 120
    assert retry_after_s({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, 20) == 40
    assert retry_after_s({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, 90) == 0
    assert retry_after_s({"Retry-After": "soon"}, 0) is None
    assert retry_after_s({}, 0) is None


def test_an_opt_out_addressed_to_another_client_does_not_count():
    assert says_opt_out(["noindex", "noimageai"], "clipdata/0.1")
    assert says_opt_out(["ClipData: noai"], "clipdata/0.1")
    assert not says_opt_out(["otherbot: noai, noimageai"], "clipdata/0.1")
    assert not says_opt_out([], "clipdata/0.1")
