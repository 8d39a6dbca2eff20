"""Which parts of a text are secrets, and which only look like them."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipdata.redaction import MASK, redact

SECRET = "s3cr3t-V4lue"
BASIC = base64.b64encode(f"user:{SECRET}".encode()).decode()

NAMES = """
    pwd passwd password PASSWORD Password passphrase pass db_password userPassword user[password] user%5Bpassword%5D
    access access_token accessToken ACCESS_TOKEN access-token token Token auth_token x-auth-token id_token refresh_token
    session sessionid session_id sessionId SESSIONID PHPSESSID jsessionid JSESSIONID sid connect.sid session_token
    auth x-auth authorization bearer jwt hmac sig signature Signature x-signature sign
    key apikey api_key api-key x-api-key apiKey secret client_secret clientSecret wsSecret account_key auth_key
    AWSAccessKeyId OSSAccessKeyId GoogleAccessId access_key_id credential credentials
    X-Amz-Signature X-Amz-Credential X-Amz-Security-Token X-Goog-Signature X-Goog-Credential x-oss-signature
    x-oss-security-token x-cos-security-token x-tos-signature q-signature q-ak Policy Key-Pair-Id Signature hdnts hdnea
    t%6Fken %74%6f%6b%65%6e t%256Fken t%25256fken passw%6frd passw%256frd s%69g x-amz-s%69gnature token2
"""
STAY = """
    w h q id name width height format quality crop fit v ver lang page size url src keyword keywords monkey turkey
    design signal signed assignee insight author authority authors accessible accessories level max_tokens tokens
    tokenizer token_type token_count session_length sessions auth_type access_level passenger passes compass bypass
    passive side sidebar sidecar aside inside outside cookies secretary password_reset key_count keys keyboard
    primary_key sort_key cache_key policy_type hash digest etag date expires se sp sv sr st ip mac code state user
    username account
    account_name signature_version hmacs jwts bearers sigma signs credit access_date x-oss-process ex is hm
"""


@pytest.mark.parametrize("name", NAMES.split())
@pytest.mark.parametrize(
    "around",
    [
        "https://h/a.jpg?w=3&{}&v=2",
        "https://h/a.jpg?{}#top",
        "https://h/a.jpg?w=3;{}",
        "https://h/a.jpg#{}&v=2",
        "https://h/a.jpg?w=3&amp;{}&amp;v=2",
        "cannot read 'https://h/a.jpg?{}': it is gone",
        '{{"url": "https://h/a.jpg?{}", "n": 1}}',
        "see (https://h/a.jpg?w=3&{}).",
        "/b/a.jpg?{}",
        "exp=1~{}",
    ],
)
def test_a_secret_parameter_is_masked_wherever_it_stands(name, around):
    shown = redact(around.format(f"{name}={SECRET}"))
    assert SECRET not in shown
    assert f"{name}={MASK}" in shown
    for kept in ("https://h/a.jpg", "w=3", "&v=2", "it is gone", '", "n": 1}'):
        assert (kept in shown) == (kept in around.replace("}}", "}"))


@pytest.mark.parametrize("name", STAY.split())
def test_what_only_sounds_like_a_secret_stays(name):
    for around in ("https://h/a.jpg?{}&v=2", "https://h/a.jpg?w=3&{}", "https://h/a;{}/b.jpg", "https://h/a.jpg#{}"):
        assert redact(around.format(f"{name}=value")) == around.format(f"{name}=value")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            f"https://h/a?u=https%3A%2F%2Fi%2Fb%3Ftoken%3D{SECRET}%26w%3D3&x=1",
            "https%3A%2F%2Fi%2Fb%3Ftoken%3D***%26w%3D3",
        ),
        (f"https://h/a?u=https%253A%252F%252Fi%253Fsig%253D{SECRET}%2526w%253D3&x=1", "sig%253D***%2526w%253D3&x=1"),
        (f"https://h/a?token=one%26{SECRET}&x=1", "https://h/a?token=***&x=1"),
        (f"https://h/a;jsessionid={SECRET}/b.jpg?w=3", "https://h/a;jsessionid=***/b.jpg?w=3"),
        (f"https://h/a;jsessionid={SECRET}?w=3", "https://h/a;jsessionid=***?w=3"),
        (f"https://h/a?hdnts=st=1~exp=2~acl=/*~hmac={SECRET}&w=3", "https://h/a?hdnts=***&w=3"),
        (f"https://h/a?verify=st=1~exp=2~hmac={SECRET}&w=3", "https://h/a?verify=st=1~exp=2~hmac=***&w=3"),
        (f"https://h/hdntl=exp=2~acl=/*~hmac={SECRET}/b.jpg", "https://h/hdntl=exp=2~acl=/*~hmac=***/b.jpg"),
        (f"https://h/cb#access_token={SECRET}&type=b", "https://h/cb#access_token=***&type=b"),
        (f"https://h/a?sv=1&se=2&sr=b&sp=r&sig={SECRET}&id=4", "?sv=***&se=***&sr=***&sp=***&sig=***&id=4"),
        (
            f"https://h/a?Expires=1&Signature={SECRET}&Key-Pair-Id=2&w=3",
            "?Expires=***&Signature=***&Key-Pair-Id=***&w=3",
        ),
        (f"https://h/a?ex=1&is=2&hm={SECRET}&w=3", "https://h/a?ex=***&is=***&hm=***&w=3"),
        (
            f'{{"u":"https://h/a?w=1\\u0026token={SECRET}\\u0026v=2"}}',
            '{"u":"https://h/a?w=1\\u0026token=***\\u0026v=2"}',
        ),
        (f"AccountName=me;AccountKey=ab/c+{SECRET}==", "AccountName=me;AccountKey=***"),
        (f"https://user:{SECRET}@h/a", "https://***@h/a"),
        (f"https://{SECRET}@h/a", "https://***@h/a"),
        (f"https://user:a@{SECRET}@h/a", "https://***@h/a"),
        (f"https://user:a/{SECRET}@h/a", "https://***@h/a"),
        (f"https://user:a#{SECRET}?@h/a", "https://***@h/a"),
        (f"redirected to //user:{SECRET}@h/a", "redirected to //***@h/a"),
        (f"https://h/?u=https%3A%2F%2Fuser%3A{SECRET}%40h%2Fa", "https://h/?u=https%3A%2F%2F***%40h%2Fa"),
        (f"Authorization: Bearer {SECRET}", "Authorization: Bearer ***"),
        (
            f"{{'Authorization': 'Bearer {SECRET}', 'Accept': '*/*'}}",
            "{'Authorization': 'Bearer ***', 'Accept': '*/*'}",
        ),
        (f"bearer token {SECRET}, refused", "bearer token ***, refused"),
        (f"Authorization: Basic {BASIC}", "Authorization: Basic ***"),
        (f"sent Basic {BASIC} to it", "sent Basic *** to it"),
        (f"proxy-authorization: Digest {SECRET}", "proxy-authorization: Digest ***"),
        (f"AWS4-HMAC-SHA256 Credential={SECRET}/2026, SignedHeaders=host, Signature={SECRET}", "SignedHeaders=host, S"),
        (f"X-Api-Key: {SECRET}", "X-Api-Key: ***"),
        (f'"access_token": "{SECRET}", "n": 1', '"access_token": "***", "n": 1'),
        (f"Set-Cookie: a={SECRET}; Path=/", "Set-Cookie: ***"),
        (f"password={SECRET} was refused", "password=*** was refused"),
        (f"--storage-option session_token={SECRET}", "--storage-option session_token=***"),
    ],
)
def test_what_is_around_a_secret_can_still_be_read(text, shown):
    assert SECRET not in redact(text)
    assert BASIC not in redact(text)
    assert shown in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "cannot read s3://bucket/a@b.jpg?versionId=3: at 12:30, mail me@host",
        "https://h/a.jpg?x-oss-process=image%2Fresize&keyword=cat&design=2",
        "https://h:8080/a@b.jpg and https://[::1]:9000/x@y",
        "https://h/a?mail=me@host&time=12:30",
        "/data/session=3/key=a/part-0.parquet",
        "the bearer of the letter, basic training, a bearer token is missing",
        "Unexpected token: } in line 3; primary_key: id",
        "cookie: chocolate, with nuts",
        "key=3 and session=2 of the partition",
        "a == b, x=1, max_tokens=77",
        "image_key: path; sort_key=name",
        "C:\\photos\\a.jpg, file:///C:/a@b.jpg",
        "token=",
        "https://h/a?token=&w=3",
        "女孩 = 照片；50% 的 100%25",
        "",
    ],
)
def test_ordinary_text_stays(text):
    assert redact(text) == text


_PIECES = [
    *("https://", "//", "h", "/", "?", "&", ";", "#", "~", "=", "@", ":", "%3D", "%26", "%253f", "%40", "%3A%2F%2F"),
    *(
        "token",
        "sig",
        "se",
        "jsessionid",
        "hmac",
        "hdnts",
        "key",
        "password",
        "w",
        "***",
        SECRET,
        " ",
        "'",
        '"',
        ")",
        ",",
    ),
    *("Bearer ", "Basic ", BASIC, "Authorization: ", "Cookie: ", "\\u0026", "\\", "\n", "%", "%25"),
]


@given(st.lists(st.sampled_from(_PIECES), max_size=24).map("".join))
@settings(max_examples=300, deadline=None)
def test_masking_a_masked_text_changes_nothing(text):
    once = redact(text)
    assert redact(once) == once


@pytest.mark.parametrize(
    "piece",
    [
        "?token=a",
        "&token",
        "%25",
        "%2525",
        "%3A%2F%2F",
        "a=",
        "://",
        "://a:",
        "//a:b",
        "@",
        ":a@",
        ")",
        "\\u0026",
        "bearer ",
        "basic ",
        "basic aaaa",
        "authorization: ",
        "cookie: ",
        "api-",
        "x-x-key",
        "t%6Fken=",
        "~hmac=/",
        ";jsessionid=a/",
        "A",
        "aA",
        "'",
        "sig=&se=",
    ],
)
def test_hostile_text_takes_time_in_proportion_to_its_length(piece):
    def seconds(num: int) -> float:
        text = piece * (num // len(piece))
        started_s = time.thread_time()  # other processes may keep this one waiting
        redact(text)
        return time.thread_time() - started_s

    short_s = min(seconds(5_000) for _ in range(3))
    assert min(seconds(50_000) for _ in range(3)) < 40 * short_s + 0.02
