"""A client that the viewer let in, as it lets a browser in: what it is told, and what it writes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from clipdata.viewer import Viewer


@contextmanager
def browser_of(viewer: Viewer) -> Iterator[httpx.Client]:
    """A client that was let in, as a browser is."""
    place = viewer.url.partition("/?")[0]
    with httpx.Client(base_url=place, follow_redirects=True, trust_env=False, timeout=120) as client:
        assert client.get(viewer.url).status_code == 200
        yield client


def told(client: httpx.Client, what: str, **query: Any) -> Any:
    """What the viewer says to a question that it answers."""
    answer = client.get(f"/api/{what}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def written(client: httpx.Client, what: str, body: Any, at: int | None = None, **headers: str) -> httpx.Response:
    """What it says to an edit from its own page, which shows a version."""
    origin, query = str(client.base_url).rstrip("/"), {} if at is None else {"version": at}
    sent = {"origin": origin, **headers}
    return client.post(f"/api/edit/{what}", params=query, content=json.dumps(body), headers=sent)


def settled(client: httpx.Client, ticket: int) -> dict[str, Any]:
    """What is told of decisions once one of them is in the table."""
    give_up = time.monotonic() + 180
    while (now := told(client, "decisions"))["written"] < ticket:
        assert now["error"] is None
        assert time.monotonic() < give_up
        time.sleep(0.05)
    return now
