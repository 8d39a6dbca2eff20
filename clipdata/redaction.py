"""Redaction: the secrets inside a text, masked, wherever it came from: a URL, a header, a message of some library.

Three places hold them: the user info of a URL, a header, and a parameter, whose name tells. A name is read as the
server would read it, whatever its case and its percent signs, and a URL inside a URL like the one around it. What is
in doubt is masked; what only sounds like a secret (`keyword`, `design`, `max_tokens`) is not. Masking a masked text
changes nothing, and the time is linear in the text, whoever wrote it. This module knows nothing of locations and
tables.
"""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote

MASK = "***"

# Parameters that together show that a URL is signed → the parameters that belong to the signature.
SIGNATURES: tuple[tuple[frozenset[str], re.Pattern[str]], ...] = tuple(
    (frozenset(signs.split()), re.compile(parameters))
    for signs, parameters in (
        ("x-amz-signature", r"x-amz-.*"),  # S3
        ("x-goog-signature", r"x-goog-.*"),  # Google Cloud Storage
        ("x-oss-signature", r"x-oss-(?!process).*"),  # Alibaba Cloud; x-oss-process is a part of the address
        ("x-tos-signature", r"x-tos-(?!process).*"),  # Volcano Engine
        ("q-signature", r"q-.*|x-cos-security-token"),  # Tencent Cloud
        ("sig se", r"sig|s[vetprs]|srt|sip|spr|sk[a-z]{1,3}"),  # Azure
        # S3, Google and Alibaba before, and CloudFront
        ("signature expires", r"signature|expires|\w*accesskeyid|googleaccessid|key-pair-id|security-token"),
        ("signature policy", r"signature|policy|key-pair-id|hash-algorithm"),
        ("hdnts", r"hdnts"),  # Akamai
        ("hdnea", r"hdnea"),
        ("ex is hm", r"ex|is|hm"),  # Discord
        ("oh oe", r"oh|oe"),  # Facebook and Instagram
    )
)
_SIGNS = frozenset().union(*(signs for signs, _ in SIGNATURES))

# A name is secret by its last word ("x-auth", "connect.sid", "user[password]"), numbers and "id" after it aside …
_LAST_WORDS = frozenset(
    (
        *(
            "auth",
            "authorization",
            "bearer",
            "cookie",
            "cred",
            "creds",
            "hdnea",
            "hdntl",
            "hdnts",
            "hmac",
            "jwt",
            "pass",
        ),
        *("passcode", "passphrase", "pw", "pwd", "sas", "session", "sid", "sig"),
    )
)
# … by the end of all words together, so that how they are joined does not matter …
_ENDINGS = (
    *(
        "token",
        "secret",
        "password",
        "passwd",
        "signature",
        "credential",
        "credentials",
        "sessionid",
        "sessid",
        "apikey",
    ),
    *("accesskey", "accesskeyid", "accessid", "secretkey", "accountkey", "authkey", "privatekey", "sharedkey"),
    "signingkey",
)
# … or as a whole.
_WHOLE = frozenset(("access", "key", "keypairid", "policy", "qak", "sign", "wsauthsign"))
# "cache_key" and the like are keys of something, and every other "…_key" is one that opens something.
_KEYS_OF_THINGS = frozenset(
    ("cache", "foreign", "group", "object", "order", "partition", "primary", "public", "row", "sort")
)
# Values of these have no slash in them, and stand in paths: "/a;jsessionid=1/b.jpg".
_IN_PATHS = ("sessionid", "sessid", "hmac")

_MARK = re.compile(r"(?i)%(?:25)*(?:26|3b|3d|3f|23|7e|2f)|\\u00(?:26|3d|3f)|[?&;#~/=]")
_ESCAPED = {"26": "&", "3b": ";", "3d": "=", "3f": "?", "23": "#", "7e": "~", "2f": "/"}
_UNBROKEN = re.compile(r"[^\s\"<>`]+")
_AFTER_A_URL = "\\)]},.:;'"  # punctuation of the text around it
_NAME_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LONGEST_NAME = 256
_MOST_ESCAPES = 8

_USERINFO = re.compile(r"(://)[^/\s?#\"<>]+@")
_USERINFO_WITH_SLASH = re.compile(
    r"(://)[^/\s:@\[\]?#\"<>]{0,256}:(?!\d{0,5}(?:[/?#\s\"'<>]|$))[^\s@\"<>]{0,256}@"  # not a port
)
_USERINFO_WITHOUT_SCHEME = re.compile(r"(?<![:\w/])(//)[^/\s?#:@\"<>]{1,256}:[^/\s?#@\"<>]{1,256}@")
_USERINFO_ESCAPED = re.compile(
    r"(?i)(%(?:25)*3a%(?:25)*2f%(?:25)*2f)(?:(?!%(?:25)*2f)[^\s/?&#@\"<>]){1,256}?(%(?:25)*40|@)"
)
_AUTHORIZATION = re.compile(
    r"(?i)\b(authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?"
    r"(?:basic|bearer|digest|negotiate|ntlm|token|apikey|oauth|hawk|sharedkey|\w{1,16}4-hmac-\w{1,16})\s{1,4})[^\s\"',]+"
)
_BEARER = re.compile(
    r"(?i)\b(bearer(?:\s{1,4}token)?(?:\s{1,4}|%20|\+|:\s{0,4}))"
    r"(?!(?:of|in|to|is|was|has|and|the|for|tokens?|auth|authentication|missing|expired|required)\b)[^\s,'\"]+"
)
_URL_SAFE = str.maketrans("+/", "-_")
_BASIC = re.compile(r"(?i)\b(basic(?:\s{1,4}|%20|\+))([a-z0-9+/_-]{4,}={0,2})")
_HEADER = re.compile(
    r"(?i)\b((?:set-)?cookie[\"']?:\s{0,4}[\"']?)(?=[\w.-]{1,64}=)[^\r\n\"]+"
    r"|\b((?:[\w-]{0,32}[-_])?(?:api[-_]key|access[-_]key|secret[-_]key|account[-_]key|access[-_]token|auth[-_]token"
    r"|refresh[-_]token|session[-_]token|security[-_]token|client[-_]secret)[\"']?\s{0,4}:\s{0,4}[\"']?)[^\s\"',}]+"
)


def redact(text: str) -> str:
    """Mask credentials: user info, signatures, tokens, passwords and sessions in URLs, and those of headers."""
    if "@" in text or "%40" in text:
        for userinfo in (_USERINFO, _USERINFO_WITH_SLASH, _USERINFO_WITHOUT_SCHEME):
            text = userinfo.sub(rf"\1{MASK}@", text)
        text = _USERINFO_ESCAPED.sub(rf"\1{MASK}\2", text)
    lowered = text.lower()
    if "authorization" in lowered:
        text = _AUTHORIZATION.sub(rf"\1{MASK}", text)
    if "bearer" in lowered:
        text = _BEARER.sub(rf"\1{MASK}", text)
    if "basic" in lowered:
        text = _BASIC.sub(_masked_basic, text)
    if ":" in text and any(word in lowered for word in ("cookie", "key", "token", "secret")):
        text = _HEADER.sub(_masked_header, text)
    return _UNBROKEN.sub(_masked_parameters, text) if "=" in text or "%" in text or "\\u003d" in text else text


def parameter_name(written: str) -> str:
    """A parameter's name as the server reads it: without escapes, in lower case."""
    return _plain(written).lower()


def _masked_header(found: re.Match[str]) -> str:
    return f"{found[1] or found[2]}{MASK}"


def _masked_basic(found: re.Match[str]) -> str:
    """A word behind "basic" is a secret where it stands for user:password."""
    written = found[2].rstrip("=").translate(_URL_SAFE)
    try:
        is_secret = b":" in base64.urlsafe_b64decode(written + "=" * (-len(written) % 4))
    except binascii.Error:
        is_secret = False
    return f"{found[1]}{MASK}" if is_secret else found[0]


def _masked_parameters(found: re.Match[str]) -> str:
    """Mask values of parameters in a piece of text without spaces."""
    text = found[0]
    marks = [(mark.start(), mark.end(), *_kind_of(mark[0])) for mark in _MARK.finditer(text)]
    names: dict[int, str] = {}  # place in `marks` of the "=" → the name before it
    for place, (start, _, kind, _) in enumerate(marks):
        if kind == "=":
            names[place] = _plain(text[max(marks[place - 1][1] if place else 0, start - _LONGEST_NAME) : start])
    lowered = {name.lower() for name in names.values()}
    belongs = [names_ for signs, names_ in SIGNATURES if signs <= lowered] if not _SIGNS.isdisjoint(lowered) else []
    parts, done = [], 0
    for place, name in names.items():
        start = marks[place][1]
        before = marks[place - 1][2] if place else ""
        if start < done or not (_is_secret(name, before) or any(one.fullmatch(name.lower()) for one in belongs)):
            continue
        end = _end_of_value(text, marks, place, _ends_of_value(name, before))
        if end > start:
            parts += [text[done:start], MASK]
            done = end
    return "".join([*parts, text[done:]])


def _end_of_value(text: str, marks: list[tuple[int, int, str, int]], place: int, ends: str) -> int:
    """Where the value behind the "=" at `place` ends: before a separator that is escaped no more often than it."""
    _, start, _, level = marks[place]
    for following in range(place + 1, len(marks)):
        at, _, kind, other = marks[following]
        if other <= level and kind in ends:
            return at
    return start + len(text[start:].rstrip(_AFTER_A_URL))


def _kind_of(mark: str) -> tuple[str, int]:
    """Which separator it is, and how often it is escaped."""
    if len(mark) == 1:
        return mark, 0
    return _ESCAPED[mark[-2:].lower()], len(mark) // 2 if mark[0] == "%" else 0


def _ends_of_value(name: str, before: str) -> str:
    if before == "/" or (before in ";~" and name.lower().endswith(_IN_PATHS)):
        return "&/?#;"
    return "&"


def _plain(name: str) -> str:
    for _ in range(_MOST_ESCAPES):
        if "%" not in name or (plain := unquote(name)) == name:
            break
        name = plain
    return name


def _is_secret(name: str, before: str) -> bool:
    """Whether the value of a parameter is a secret.

    Args:
        name: without escapes.
        before: the separator before it; "" at the start of a text, where a name says less than in a URL, and "/" in a
            path, whose parts may be named after columns (`/session=3/`).
    """
    words = [word.lower() for word in _NAME_WORDS.findall(name)]
    together = "".join(words)
    while words and (words[-1] == "id" or words[-1].isdigit()) and len(words) > 1:
        words.pop()
    if not words:
        return False
    if together.endswith(_ENDINGS) or "".join(words).endswith(_ENDINGS):
        return not (words[-1] == "key" and len(words) > 1 and words[-2] in _KEYS_OF_THINGS)
    if before in ("", "/"):
        return words[-1] in ("jwt", "pwd", "sig", "hmac")
    if words[-1] == "key" and len(words) > 1:
        return words[-2] not in _KEYS_OF_THINGS
    return words[-1] in _LAST_WORDS or together in _WHOLE
