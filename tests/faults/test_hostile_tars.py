"""Archives made to hurt: each is refused or passed over with a reason; nothing is unpacked, crashes or balloons."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import tracemalloc
from collections.abc import Iterator

import pytest

from ingest.shards.blocks import ArchiveBroken
from ingest.shards.members import TarLimits, read_members
from ingest.shards.tar_shards import TarShards
from tests.tars import END, compressed, header, member, pax, pax_record, picture, read_files, sample, write_shard

GOOD = sample("good", 1, "still here")


class Endless:
    """A stream that never ends: `start`, then one byte for ever. Counts what was taken from it."""

    def __init__(self, start: bytes, filler: bytes = b"\1") -> None:
        self.start, self.filler, self.num_read = start, filler, 0

    def read(self, size: int, /) -> bytes:
        data, self.start = self.start[:size], self.start[size:]
        data += self.filler * (size - len(data))
        self.num_read += len(data)
        return data


def read_all(data: bytes, limits: TarLimits | None = None):
    """Names, refusals by name, and the reason why the archive ended early, of raw bytes."""
    refused: dict[str, str] = {}
    names: list[str] = []
    try:
        for found in read_members(io.BytesIO(data), limits or TarLimits(), lambda n, r, _: refused.update({n: r})):
            names.append(found.name)
    except ArchiveBroken as error:
        return names, refused, error.reason
    return names, refused, None


@pytest.mark.parametrize(
    "name",
    ["../evil.png", "a/../../evil.png", "/etc/evil.png", "C:/evil.png", "..\\evil.png", "a/..", b"\xff\xfe.png"],
)
def test_names_that_leave_the_archive_or_are_not_text_are_passed_over(name):
    names, refused, broken = read_all(member(name, picture()) + GOOD + END)

    assert names == ["good.png", "good.txt"]
    assert list(refused.values()) == ["unsafe_name"]
    assert broken is None
    assert all(key.encode() for key in refused), "a refused name can be stored and printed"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_devices_and_pipes_are_passed_over(kind):
    names, refused, broken = read_all(member("a.png", kind=kind, link="/etc/passwd") + GOOD + END)

    assert names == ["good.png", "good.txt"]
    assert refused == {"a.png": "not_a_file"}
    assert broken is None


def test_a_link_that_claims_a_size_does_not_hide_what_follows():
    link = header("a.png", size=4096, kind=tarfile.SYMTYPE, link="x")

    assert read_all(link + GOOD + END)[0] == ["good.png", "good.txt"]


def test_old_and_new_sparse_files_are_passed_over_and_never_inflated():
    old = bytearray(header("old.png", size=512, kind=tarfile.GNUTYPE_SPARSE))
    old[482] = 1  # a block of further holes follows
    old[148:156] = b" " * 8
    old[148:156] = b"%06o\0 " % sum(old)
    pax_sparse = pax(pax_record("GNU.sparse.major", "1") + pax_record("GNU.sparse.realsize", str(2**60)))

    both = bytes(old) + bytes(512) + bytes(512) + pax_sparse + member("new.png", b"x")
    names, refused, broken = read_all(both + GOOD + END)

    assert names == ["good.png", "good.txt"]
    assert refused == {"old.png": "sparse", "new.png": "sparse"}
    assert broken is None


def test_an_endless_sparse_map_costs_no_memory():
    block = bytearray(header("old.png", kind=tarfile.GNUTYPE_SPARSE))
    block[482] = 1
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    stream = io.BytesIO(bytes(block) + (bytes(504) + b"\1" + bytes(7)) * 40_000)

    tracemalloc.start()
    with pytest.raises(ArchiveBroken, match="truncated"):
        list(read_members(stream, TarLimits(), lambda *_: None))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 4 << 20


@pytest.mark.parametrize("size", [64 * 2**20 + 1, 2**40, 8**11 - 1, 2**62, 2**80])
def test_a_member_that_claims_more_than_the_limit_is_passed_over_without_being_held(size):
    tracemalloc.start()
    names, refused, broken = read_all(member("good.png", picture()) + header("huge.png", size) + b"x" * 5000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert names == ["good.png"]
    assert refused == {"huge.png": "too_large"}
    assert broken == "truncated"
    assert peak < 4 << 20


def test_a_member_above_the_limit_does_not_hide_what_follows():
    names, refused, _ = read_all(member("big.png", bytes(3000)) + GOOD + END, TarLimits(max_member_bytes=2999))

    assert names == ["good.png", "good.txt"]
    assert refused == {"big.png": "too_large"}


def test_a_negative_size_ends_the_archive():
    assert read_all(GOOD + header("a.png", size=-1) + GOOD + END) == (["good.png", "good.txt"], {}, "corrupt")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_extension_headers_without_end_are_not_read(kind):
    stream = Endless(GOOD + header("bomb", size=2**33, kind=kind))
    found: list[str] = []

    with pytest.raises(ArchiveBroken, match="too_large"):
        found.extend(m.name for m in read_members(stream, TarLimits(), lambda *_: None))

    assert stream.num_read < 1 << 20


def test_extension_headers_piled_up_end_the_archive():
    pile = pax(pax_record("comment", "x")) * 10_000

    assert read_all(GOOD + pile + GOOD + END)[2] == "corrupt"


@pytest.mark.parametrize(
    "records",
    [
        b"garbage",
        b"99999999 path=x\n",
        b"9 path=x",
        b"0 path=x\n",
        b"-5 path=x\n",
        b"12 pathxxxxx\n",
        b"\xff\xfe a=b\n",
    ],
)
def test_damaged_pax_records_end_the_archive(records):
    assert read_all(GOOD + pax(records) + member("a.png", b"x") + END) == (["good.png", "good.txt"], {}, "corrupt")


def test_many_pax_records_are_read_in_linear_time():
    records = b"".join(pax_record(f"k{i}", "v") for i in range(4000))

    assert read_all(pax(records) + member("a.png", b"x") + END)[0] == ["a.png"]


def test_a_pax_path_is_held_to_the_same_rules_as_any_name():
    climbing = pax(pax_record("path", "../../etc/cron.d/evil.png")) + member("innocent.png", b"x")

    assert read_all(climbing + GOOD + END)[1] == {"../../etc/cron.d/evil.png": "unsafe_name"}


def test_a_pax_size_is_held_to_the_same_limit_as_any_size():
    swollen = pax(pax_record("size", str(2**60))) + member("a.png", b"x")

    assert read_all(swollen + GOOD + END)[1:] == ({"a.png": "too_large"}, "truncated")


@pytest.mark.parametrize("length", range(0, len(GOOD), 97))
def test_an_archive_cut_anywhere_gives_what_is_whole_and_says_so(length):
    names, _, broken = read_all(GOOD[:length])

    assert broken in ("empty", "not_a_tar", "truncated")
    assert names == ["good.png", "good.txt"][: len(names)]


@pytest.mark.parametrize("data", [b"", b"\x1f\x8b", b"PK\3\4" + bytes(2000), b"\x89PNG" * 500, b"<html>" * 300])
def test_what_is_no_archive_is_named(data):
    assert read_all(data)[2] in ("empty", "not_a_tar", "truncated", "corrupt")


def test_gzip_that_swells_without_reason_is_stopped():
    bomb = gzip.compress(GOOD + header("zeros.png", size=2**30) + bytes(1 << 28))

    tracemalloc.start()
    names, _, broken = read_all(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (names, broken) == (["good.png", "good.txt"], "time_bomb")
    assert peak < 8 << 20


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zst", ".tar.bz2", ".tar.lz4"])
def test_what_swells_is_stopped_at_the_limit_and_not_before(suffix):
    noise = random.Random(1).randbytes(40_000)
    swollen = member("a.png", noise) + member("b.png", bytes(2 << 20)) + END
    packed = compressed(swollen, suffix)
    factor = len(swollen) / len(packed)  # ≈ 50: without the noise a megabyte of grace would be all that counts

    over = read_all(packed, TarLimits(max_expansion=int(factor / 4)))
    under = read_all(packed, TarLimits(max_expansion=int(factor) + 1))

    assert over[2] == "time_bomb"
    assert under == (["a.png", "b.png"], {}, None)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zst", ".tar.bz2", ".tar.lz4"])
def test_a_compressed_bomb_costs_no_memory(suffix):
    bomb = compressed(GOOD + header("zeros.png", size=2**28) + bytes(1 << 26), suffix)

    tracemalloc.start()
    names, _, broken = read_all(bomb, TarLimits(max_expansion=20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (names, broken) == (["good.png", "good.txt"], "time_bomb")
    assert peak < 12 << 20


def test_a_plain_archive_that_begins_like_a_compressed_one_is_plain():
    assert read_all(member("BZhang.png", b"x") + END)[0] == ["BZhang.png"]


def test_a_network_that_fails_under_a_compressed_archive_is_no_fault_of_the_archive():
    class Failing(Endless):
        def read(self, size, /):
            if not self.start:
                raise OSError("the network is gone")
            data, self.start = self.start[:100], self.start[100:]
            return data

    for suffix in (".tar.gz", ".tar.zst", ".tar.bz2", ".tar.lz4"):
        start = compressed(member("a.png", random.Random(1).randbytes(5000)), suffix)[:2000]
        with pytest.raises(OSError, match="the network is gone"):
            list(read_members(Failing(start), TarLimits(), lambda *_: None))


@pytest.mark.parametrize("cut", [20, 100, -1, -9])
def test_damaged_gzip_ends_the_archive(cut):
    whole = gzip.compress(GOOD + END)

    assert read_all(whole[:cut])[2] in ("truncated", None), "only the checksum after the end mark may be missing"
    assert read_all(whole[:30] + b"\xff" * 20 + whole[50:])[2] in ("corrupt", "truncated")


def damaged(seed: int) -> bytes:
    noise = random.Random(seed)
    data = bytearray(GOOD + pax(pax_record("path", "long.png")) + member("a.png", b"x") + GOOD + END)
    for _ in range(noise.randrange(1, 12)):
        data[noise.randrange(len(data))] = noise.randrange(256)
    return bytes(data)


def test_no_damage_brings_down_the_reader():
    endings = [read_all(damaged(seed))[2] for seed in range(400)]

    assert set(endings) <= {None, "corrupt", "truncated", "too_large", "not_a_tar", "time_bomb"}
    assert endings.count(None) < 400


@pytest.fixture
def read_shard(tmp_path) -> Iterator[object]:
    """Take in one shard; gives its rows and its refusals."""

    def read(parts, end=END):
        write_shard(tmp_path / "s.tar", parts, end)
        rows, rejects = read_files(TarShards(tmp_path / "s.tar"))
        return rows, {reject.key: reject.reason for reject in rejects}

    return read


def test_a_hostile_shard_gives_its_good_samples_and_a_reason_for_each_other(read_shard):
    parts = [
        sample("a", 1, "first"),
        member("../up.png", picture()),
        member("link.png", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        member("broken.png", picture()[:60]),
        sample("a", 2, "the same name again"),
        member("twice.png", picture()) + member("twice.png", picture()),
        member("deep.png", picture()) + member("deep.json", b"[" * 100_000),
        member("latin.png", picture()) + member("latin.txt", b"caf\xe9"),
        member("alone.txt", b"no image"),
        sample("z", 3, "last"),
    ]

    rows, refused = read_shard(parts)

    assert [row["caption"] for row in rows] == ["first", "last"]
    assert refused == {
        "s.tar/../up.png": "unsafe_name",
        "s.tar/link.png": "not_a_file",
        "s.tar/broken.png": "truncated",
        "s.tar/a": "duplicate",
        "s.tar/twice": "duplicate",
        "s.tar/deep.png": "corrupt",
        "s.tar/latin.png": "corrupt",
        "s.tar/alone": "missing",
    }


def test_a_shard_that_ends_early_keeps_its_whole_samples_and_is_refused_by_name(read_shard):
    rows, refused = read_shard([sample("a", 1, "one"), sample("b", 2, "two")[:-700]], end=b"")

    assert [row["caption"] for row in rows] == ["one"]
    assert refused == {"s.tar": "truncated"}


def test_nothing_is_written_beside_the_shard(read_shard, tmp_path):
    read_shard([sample("a"), member("../evil.txt", b"x"), member("/tmp/evil.txt", b"x")])

    assert sorted(path.name for path in tmp_path.rglob("*")) == ["s.tar"]
