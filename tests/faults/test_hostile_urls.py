"""What strangers' servers and URLs do to a downloader. All traffic is on the loopback: 127.0.0.2 plays the internet."""

from __future__ import annotations

import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from clipdata.images import ImageLimits
from ingest.web.download_rules import REASONS, DownloadRules, Refused
from ingest.web.downloading import download_all
from ingest.web.fetching import Download
from tests.hostile_server import JPEG, PUBLIC, Server, serve
from tests.memory_peak import peak

RULES = DownloadRules(
    allow_private=(PUBLIC,), deadline_s=1.0, connect_s=1.0, num_retries=0, backoff_s=0.05, max_bytes=1 << 20
)


@pytest.fixture(autouse=True)
def no_name_leaves_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names other than this machine's own do not resolve: no test may ask a name server."""
    real = socket.getaddrinfo

    def local_only(host: Any, *rest: Any, **more: Any) -> Any:
        if host != "localhost":
            try:
                socket.inet_aton(host)
            except OSError:
                more["flags"] = socket.AI_NUMERICHOST
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", local_only)


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


@pytest.fixture
def inside() -> Iterator[Server]:
    """A server that no URL may lead to."""
    with serve("127.0.0.1") as running:
        yield running


def fetch(url: str, rules: DownloadRules = RULES) -> bytes | Refused:
    (_, outcome), *rest = download_all([("only", url)], rules, lambda _, download: download.data)
    assert not rest
    return outcome


def reason_of(url: str, rules: DownloadRules = RULES) -> str:
    outcome = fetch(url, rules)
    assert isinstance(outcome, Refused), f"{url} gave {len(outcome)} bytes"
    assert outcome.reason in REASONS or outcome.reason.startswith("http_")
    return outcome.reason


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nowhere", "http_404"),
        ("status/403", "http_403"),
        ("status/500", "http_500"),
        ("status/204", "http_204"),
        ("status/302", "http_302"),
        ("endless", "timeout"),
        ("slow-header", "timeout"),
        ("silent", "timeout"),
        ("huge", "too_large"),
        ("flood", "too_large"),
        ("bomb", "too_large"),
        ("short", "truncated"),
        ("reset", "connection"),
        ("nonsense", "bad_response"),
        ("redirect/6", "too_many_redirects"),
    ],
)
def test_a_bad_answer_is_refused_with_its_reason(server, path, reason):
    assert reason_of(server.url(path)) == reason


def test_a_good_answer_comes_through_plain_packed_and_redirected(server):
    for path in ("image/a.jpg", "packed", "redirect/5"):
        assert fetch(server.url(path)) == JPEG


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.2/a.jpg", "file:///etc/passwd", "data:image/png;base64,AAAA", "a.jpg", "//x/y"]
)
def test_only_http_and_https_are_requested(url):
    assert reason_of(url) == "bad_scheme"


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://[::1",
        "http://a b/",
        "http://127.0.0.2:99999/",
        "http://user:pw@127.0.0.2/",
        "http://x/\n/y",
        "http://" + "a" * 9000,
    ],
)
def test_urls_that_cannot_be_requested_are_refused(url):
    assert reason_of(url) in ("bad_url", "bad_scheme")


def test_a_password_in_a_url_is_neither_sent_nor_repeated(server):
    outcome = fetch(server.url("image/a.jpg").replace("http://", "http://someone:s3cret@"))
    assert isinstance(outcome, Refused)
    assert "s3cret" not in str(outcome)
    assert not server.requests


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fd00::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "224.0.0.1",
        "255.255.255.255",
        "0x7f000001",
        "0x7f.1",
        "１２７.0.0.1",
    ],
)
def test_private_addresses_are_refused_however_they_are_written(inside, host):
    assert reason_of(f"http://{host}:{inside.server_address[1]}/image/a.jpg") == "private_address"
    assert not inside.requests


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0177.0.0.1", "127.0.0.1."])
def test_shorthand_addresses_lead_nowhere(inside, host):
    assert reason_of(f"http://{host}:{inside.server_address[1]}/image/a.jpg") in ("bad_url", "private_address", "dns")
    assert not inside.requests


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://127.0.0.1:{port}/image/a.jpg", "private_address"),
        ("http://localhost:{port}/image/a.jpg", "private_address"),
        ("//127.0.0.1:{port}/image/a.jpg", "private_address"),
        ("http://169.254.169.254/latest/meta-data/", "private_address"),
        ("http://[::ffff:127.0.0.1]:{port}/", "private_address"),
        ("file:///etc/passwd", "bad_scheme"),
        ("gopher://127.0.0.1/", "bad_scheme"),
        ("http://me:pw@127.0.0.2/", "bad_url"),
    ],
)
def test_a_redirect_is_checked_like_the_first_url(server, inside, target, reason):
    where = quote(target.format(port=inside.server_address[1]), safe="")
    assert reason_of(server.url(f"to?where={where}")) == reason
    assert not inside.requests


def test_a_name_that_resolves_differently_the_second_time_changes_nothing(server, inside, monkeypatch):
    """The operating system's resolver is replaced, as an attacker's name server would: first outside, then inside."""
    real, answers = socket.getaddrinfo, []

    def rebind(host: Any, port: int, *rest: Any, **more: Any) -> Any:
        if host != "rebind.example":
            return real(host, port, *rest, **more)
        answers.append("127.0.0.1" if answers else PUBLIC)
        return real(answers[-1], port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebind)
    port = server.server_address[1]
    urls = [(number, f"http://rebind.example:{port}/image/{number}.jpg") for number in range(20)]
    outcomes = dict(download_all(urls, RULES, lambda _, download: download.data))
    assert answers
    assert all(outcome == JPEG or outcome.reason == "private_address" for outcome in outcomes.values())
    assert not inside.requests


def test_a_name_with_public_and_private_addresses_is_reached_at_the_public_one(server, monkeypatch):
    real = socket.getaddrinfo

    def both(host: Any, port: int, *rest: Any, **more: Any) -> Any:
        if host != "both.example":
            return real(host, port, *rest, **more)
        return [*real("127.0.0.1", port, *rest, **more), *real(PUBLIC, port, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    assert fetch(f"http://both.example:{server.server_address[1]}/image/a.jpg") == JPEG


def test_a_name_that_does_not_resolve_is_refused():
    assert reason_of("http://nowhere.invalid/a.jpg") == "dns"


def test_a_host_allowed_by_name_leads_to_no_other_private_host(server, inside):
    rules = replace(RULES, allow_private=("localhost",))
    with serve("127.0.0.1") as named:
        there = f"http://localhost:{named.server_address[1]}"
        assert fetch(f"{there}/image/a.jpg", rules) == JPEG
        for target in (inside.url("image/a.jpg"), server.url("image/a.jpg"), "http://169.254.169.254/latest"):
            outcome = fetch(f"{there}/to?where={quote(target, safe='')}", rules)
            assert isinstance(outcome, Refused)
            assert outcome.reason == "private_address"
            assert "--allow-private" in outcome.detail
    assert not inside.requests
    assert not server.requests


def test_a_public_name_that_comes_to_lead_inside_is_refused_although_another_host_is_allowed(inside, monkeypatch):
    real = socket.getaddrinfo

    def answer(host: Any, *rest: Any, **more: Any) -> Any:
        return real("127.0.0.1" if host.rstrip(".") in ("intranet.example", "evil.example") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    rules = replace(RULES, allow_private=("intranet.example",))
    port = inside.server_address[1]
    assert fetch(f"http://Intranet.Example.:{port}/image/a.jpg", rules) == JPEG
    assert reason_of(f"http://evil.example:{port}/image/b.jpg", rules) == "private_address"
    assert list(inside.requests) == ["/image/a.jpg"]


def test_everything_private_may_be_allowed(inside):
    assert fetch(inside.url("image/a.jpg"), replace(RULES, allow_private=True)) == JPEG


def test_a_host_that_does_not_answer_on_its_port_is_refused():
    with socket.socket() as unused:
        unused.bind((PUBLIC, 0))
        assert reason_of(f"http://{PUBLIC}:{unused.getsockname()[1]}/a.jpg") == "connection"


@pytest.mark.parametrize(
    "path", ["busy-then-image/429/2", "busy-then-image/503/1/0", "busy-then-image/500/2", "reset-then-image"]
)
def test_what_may_pass_is_tried_again(server, path):
    assert fetch(server.url(path), replace(RULES, num_retries=2)) == JPEG


def test_tries_are_bounded_and_a_missing_page_is_asked_for_once(server):
    rules = replace(RULES, num_retries=2)
    assert reason_of(server.url("status/503"), rules) == "http_503"
    assert reason_of(server.url("status/404"), rules) == "http_404"
    assert server.requests["/status/503"] == 3
    assert server.requests["/status/404"] == 1


def test_retry_after_is_kept_and_holds_for_the_whole_host(server):
    urls = [("busy", server.url("busy-then-image/429/1/1"))]
    outcomes = dict(download_all(urls, replace(RULES, num_retries=1), lambda _, download: download.data))
    first_s, second_s = server.starts["/busy-then-image/429/1/1"]
    assert outcomes["busy"] == JPEG
    assert second_s - first_s >= 1.0


def test_a_server_that_asks_to_wait_for_an_hour_is_not_waited_for(server):
    outcome = fetch(server.url("busy-then-image/429/1/3600"), replace(RULES, num_retries=3))
    assert isinstance(outcome, Refused)
    assert (outcome.reason, outcome.wait_s) == ("http_429", 3600)
    assert server.requests["/busy-then-image/429/1/3600"] == 1


def test_one_host_is_asked_for_few_things_at_once_and_at_a_pace(server):
    urls = [(number, server.url(f"slow/0.05/{number}.jpg")) for number in range(24)]
    outcomes = dict(download_all(urls, replace(RULES, num_per_host=3), lambda _, download: download.data))
    assert set(outcomes.values()) == {JPEG}
    assert server.most_at_once <= 3
    paced = [(number, server.url(f"image/{number}.jpg")) for number in range(4)]
    list(download_all(paced, replace(RULES, delay_s=0.2), lambda _, download: download.data))
    starts = sorted(
        moment for path, moments in server.starts.items() if path.startswith("/image") for moment in moments
    )
    assert starts[-1] - starts[0] >= 0.6 - 0.05


def test_requests_under_way_are_bounded_over_all_hosts(server):
    urls = [(number, server.url(f"slow/0.05/{number}.jpg")) for number in range(24)]
    list(download_all(urls, replace(RULES, num_in_flight=4, num_per_host=24), lambda _, download: download.data))
    assert server.most_at_once <= 4


def test_a_busy_host_does_not_hold_up_the_others(server, inside):
    rules = replace(RULES, allow_private=True, num_in_flight=4, num_per_host=1, deadline_s=10)
    slow = [(f"slow{number}", server.url(f"slow/0.2/{number}.jpg")) for number in range(8)]
    quick = [(f"quick{number}", inside.url(f"image/{number}.jpg")) for number in range(8)]
    order = [name for name, _ in download_all(slow + quick, rules, lambda _, download: download.data)]
    assert max(order.index(f"quick{number}") for number in range(8)) < order.index("slow7")


def test_a_slow_url_does_not_hold_up_those_behind_it(server):
    urls = [
        ("slow", server.url("slow/0.5/a.jpg")),
        *((number, server.url(f"image/{number}.jpg")) for number in range(40)),
    ]
    order = [name for name, _ in download_all(urls, RULES, lambda _, download: download.data)]
    assert order[-1] == "slow"


@pytest.mark.parametrize(
    ("tag", "refused"),
    [
        ("noai", True),
        ("noindex, NoImageAI", True),
        ("clipdata: noai", True),
        ("googlebot: noai", False),
        ("googlebot: noindex, clipdata: noimageai", True),
        ("noindex", False),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST, noai", True),
    ],
)
def test_servers_that_opt_out_of_machine_learning_are_heeded(server, tag, refused):
    url = server.url(f"robots/{quote(tag, safe='')}")
    outcome = fetch(url)
    assert (isinstance(outcome, Refused) and outcome.reason == "opt_out") == refused
    assert fetch(url, replace(RULES, ignore_opt_out=True)) == JPEG


def test_the_client_says_who_it_is_and_asks_for_no_packing(server):
    fetch(server.url("image/a.jpg"), replace(RULES, user_agent="museum/2.0 (mail@museum.example)"))
    sent = server.headers["/image/a.jpg"]
    assert sent["User-Agent"] == "museum/2.0 (mail@museum.example)"
    assert sent["Accept-Encoding"] == "identity"
    assert "Cookie" not in sent
    assert "Authorization" not in sent


def test_escapes_in_a_url_reach_the_server_as_they_are_written(server):
    fetch(server.url("image/a%2Fb c.jpg?src=http%3A%2F%2Fx&n=图"))
    assert list(server.requests) == ["/image/a%2Fb%20c.jpg"]


def test_a_caller_that_stops_early_leaves_no_thread_and_no_connection(server):
    before = set(threading.enumerate())  # a name that does not resolve may keep an earlier test's thread for a while
    urls = [(number, server.url(f"slow/0.3/{number}.jpg")) for number in range(50)]
    downloads = download_all(urls, RULES, lambda _, download: download.data)
    next(downloads)

    def left() -> list[str]:
        return [t.name for t in threading.enumerate() if t not in before and t.name.startswith("clipdata")]

    assert left()
    downloads.close()
    deadline_s = time.monotonic() + 60
    while left() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert left() == []


def test_a_fault_of_our_own_is_raised_and_not_counted_as_a_bad_image(server):
    def run_out(_: str, __: Download) -> bytes:
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        list(download_all([("only", server.url("image/a.jpg"))], RULES, run_out))


def test_results_that_nobody_takes_do_not_pile_up(server, monkeypatch):
    monkeypatch.setattr("ingest.web.downloading._HELD_BYTES", 5 * len(JPEG))
    urls = [(number, server.url(f"image/{number}.jpg")) for number in range(300)]
    rules = replace(RULES, num_in_flight=4, deadline_s=20.0)
    downloads = download_all(urls, rules, lambda _, download: download.data)
    next(downloads)
    time.sleep(0.5)
    assert sum(server.requests.values()) < 20
    assert len(list(downloads)) == 299


def test_floods_and_bombs_take_no_more_memory_than_the_limit(server):
    with peak() as taken:
        for path in ("flood", "bomb", "huge"):
            assert reason_of(server.url(path)) == "too_large"
    assert taken.mb < 40


@pytest.mark.parametrize("path", ["bomb", "bombs", "flood", "padded", "hollow"])
def test_what_is_packed_is_unpacked_no_further_than_the_limit(server, path):
    """What is held is counted, and not what the process once held: a limit that is gone shows in any order of tests."""
    tracemalloc.start()
    try:
        outcome = fetch(server.url(path), replace(RULES, deadline_s=5.0))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert outcome == JPEG if path == "padded" else outcome.reason == "too_large"
    assert peak_bytes < 12 << 20


def test_rules_that_make_no_sense_are_all_named():
    with pytest.raises(ValueError, match="3 problem") as error:
        DownloadRules(num_in_flight=0, delay_s=-1, allow_private=("http://home",))
    assert "10.1.0.0/16" in str(error.value)
    assert DownloadRules(images=ImageLimits(max_pixels=10)).images.max_pixels == 10
