"""What of a signed URL is the address."""

from __future__ import annotations

import pytest

from ingest.web.signed_urls import without_signature


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://h/a.jpg?X-Amz-Date=1&X-Amz-Signature=2&versionId=3", "https://h/a.jpg?versionId=3"),
        ("https://h/a.jpg?X-Goog-Algorithm=1&X-Goog-Signature=2", "https://h/a.jpg"),
        ("https://h/a.jpg?sv=1&se=2&sr=b&sp=r&sig=3%3D&id=4", "https://h/a.jpg?id=4"),
        ("https://h/a.jpg?Expires=1&AWSAccessKeyId=2&Signature=3", "https://h/a.jpg"),
        ("https://h/a.jpg?Policy=1&Key-Pair-Id=2&Signature=3", "https://h/a.jpg"),
        ("https://h/a.jpg?x-oss-process=resize&x-oss-date=1&x-oss-signature=2", "https://h/a.jpg?x-oss-process=resize"),
        ("https://h/a.jpg?q-ak=1&q-sign-time=2&q-signature=3&v=4#part", "https://h/a.jpg?v=4#part"),
    ],
)
def test_a_signature_is_no_part_of_the_address(url: str, address: str) -> None:
    assert without_signature(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "https://h/a.jpg",
        "https://h/a?q=cat&sp=3&sig=x",
        "https://h/a?token=1",
        "https://h/a?expires=1",
        "https://h/a?",
        "https://h/a?key=1&&b",
        "",
    ],
)
def test_what_only_looks_like_a_signature_stays(url: str) -> None:
    assert without_signature(url) == url
