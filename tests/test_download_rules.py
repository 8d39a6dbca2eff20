"""What may be downloaded, and within which limits."""

from __future__ import annotations

import pytest

from ingest.web.download_rules import Refused, retry_after_s, says_opt_out, split_url


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
