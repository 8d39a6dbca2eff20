"""Signed URLs: what in them is the address, and what is a permission that expires.

A list of signed URLs is written anew every few hours, with other signatures for the same images. So a signature must
not take part in a row's name or etag, or each new list would download everything again. It knows nothing of requests.
"""

from __future__ import annotations

import re

# A parameter that shows that a URL is signed → the parameters that belong to the signature.
_FAMILIES: tuple[tuple[frozenset[str], re.Pattern[str]], ...] = tuple(
    (frozenset(signs.split()), re.compile(parameters))
    for signs, parameters in (
        ("x-amz-signature", r"x-amz-.*"),  # S3
        ("x-goog-signature", r"x-goog-.*"),  # Google Cloud Storage
        ("x-oss-signature", r"x-oss-(?!process).*"),  # Alibaba Cloud; x-oss-process is a part of the address
        ("q-signature", r"q-.*|x-cos-security-token"),  # Tencent Cloud
        ("sig se", r"sig|s[vetprs]|srt|sip|spr|sk[a-z]{1,3}"),  # Azure
        # S3, Google and Alibaba before, and CloudFront
        ("signature expires", r"signature|expires|\w*accesskeyid|googleaccessid|key-pair-id|security-token"),
        ("signature policy", r"signature|policy|key-pair-id|hash-algorithm"),
    )
)


def without_signature(url: str) -> str:
    """Take a signature out of a URL: what is left names the image. A URL that is not signed stays as it is."""
    address, question, query = url.partition("?")
    query, fragment_mark, fragment = query.partition("#")
    parameters = query.split("&")
    names = [parameter.partition("=")[0].lower() for parameter in parameters]
    families = [belongs for signs, belongs in _FAMILIES if signs <= set(names)]
    if not families:
        return url
    kept = [
        parameter
        for parameter, name in zip(parameters, names, strict=True)
        if not any(belongs.fullmatch(name) for belongs in families)
    ]
    return address + (question + "&".join(kept) if kept else "") + fragment_mark + fragment
