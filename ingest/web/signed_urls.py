"""Signed URLs: what in them is the address, and what is a permission that expires.

A list of signed URLs is written anew every few hours, with other signatures for the same images. So a signature must
not take part in a row's name or etag, or each new list would download everything again. It knows nothing of requests.
"""

from __future__ import annotations

from clipdata.redaction import SIGNATURES, parameter_name


def without_signature(url: str) -> str:
    """Take a signature out of a URL: what is left names the image. A URL that is not signed stays as it is."""
    address, question, query = url.partition("?")
    if not query:
        return url
    query, fragment_mark, fragment = query.partition("#")
    parameters = query.split("&")
    names = [parameter_name(parameter.partition("=")[0]) for parameter in parameters]
    families = [belongs for signs, belongs in SIGNATURES if signs <= set(names)]
    if not families:
        return url
    kept = [
        parameter
        for parameter, name in zip(parameters, names, strict=True)
        if not any(belongs.fullmatch(name) for belongs in families)
    ]
    return address + (question + "&".join(kept) if kept else "") + fragment_mark + fragment
