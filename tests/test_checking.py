"""`check`: real damage on a disk is found, named with what mends it, and mended only when that is asked for."""

from __future__ import annotations

import json
import random
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import clipdata as cd
import ingest
from clipdata.errors import NotFoundError, StorageError
from clipdata.lance_io.tags import run_tag
from clipdata.step_protocol import BaseStep
from pipelines.cli.app import main
from pipelines.cli.commands.check import check as check_verb
from pipelines.cli.json_output import schema_of
from tests.damaging import cut, data_files, flip, manifest
from tests.json_schemas import check_schema
from tests.pictures import write_pictures

CONTENT = ["path", "image", "sha256", "width", "twice"]


class Width(BaseStep):
    """Twice the width of a picture."""

    name, version, returns, reads = "Width", "1", pa.int64(), ("width",)

    def compute(self, batch: pa.RecordBatch, prepared: object) -> Any:
        return pa.compute.multiply(batch.column("width").cast(pa.int64()), 2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures and a table of them: a deleted row, a column that a step made."""
    folder = tmp_path_factory.mktemp("made")
    write_pictures(folder / "in", 12)
    ingest.from_images(str(folder / "in"), into=folder / "t.lance")
    write_pictures(folder / "in", 20)
    table = ingest.from_images(str(folder / "in"), into=folder / "t.lance").table
    cd.delete(table, "path = '0003.jpg'")
    cd.map_column(table, Width(), "twice")
    return folder


@pytest.fixture
def uri(made: Path, tmp_path: Path) -> str:
    """A copy of that table, to be damaged; its pictures stay where they were."""
    shutil.copytree(made / "t.lance", tmp_path / "t.lance")
    shutil.copytree(made / "t.lance.state", tmp_path / "t.lance.state")
    return str(tmp_path / "t.lance")


def files_below(folder: str | Path) -> dict[str, bytes]:
    """All files of a folder with their bytes."""
    return {str(path): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def test_a_whole_table_is_sound_and_every_picture_was_held_against_its_digest(uri: str) -> None:
    before = files_below(uri)

    found = cd.check(uri)

    assert found.sound
    assert found.problems == ()
    assert found.num_read == found.num_files > 0
    assert found.num_pictures == 20 - 1
    assert files_below(uri) == before


@pytest.mark.parametrize("how", ["cut", "emptied", "removed", "footer"])
def test_a_damaged_column_of_a_step_is_emptied_and_made_again_and_no_row_goes(uri: str, how: str) -> None:
    expected = cd.open_table(uri).to_table().sort_by("path")
    victim = data_files(uri, "twice")[1]
    {"cut": cut, "emptied": lambda p: cut(p, 0), "removed": Path.unlink, "footer": lambda p: flip(p, -20, 8)}[how](
        victim
    )

    found = cd.check(uri)
    (problem,) = found.problems
    assert (problem.what, problem.remedy, problem.columns) == ("file", "refill", ("twice",))
    assert problem.name == f"data/{victim.name}"
    assert problem.num_rows == 8
    assert "clipdata refresh" in problem.mending
    with pytest.raises(StorageError, match=victim.name):
        found.hold()

    mended = cd.check(uri, repair=True)

    assert mended.sound
    table = cd.open_table(uri)
    assert table.count_rows("twice IS NULL") == 8
    done = cd.map_column(table, Width(), "twice")
    assert done.computed == 8
    assert table.to_table().sort_by("path").equals(expected)
    assert cd.log(table)[-2].properties.verb == "check"  # type: ignore[union-attr]


def test_a_column_file_of_another_length_than_its_rows_is_found(uri: str) -> None:
    one, other = data_files(uri, "twice")
    shutil.copy(one, other)

    (problem,) = cd.check(uri).problems

    assert problem.name == f"data/{other.name}"
    assert problem.remedy == "refill"
    assert "were written" in problem.fault or "rows" in problem.fault
    assert cd.check(uri, repair=True).sound


def test_a_picture_whose_bytes_changed_is_read_again_from_its_file_and_what_was_made_of_it_stays(
    uri: str, made: Path
) -> None:
    expected = cd.open_table(uri).to_table().sort_by("path")
    victim = data_files(uri, "image")[0]
    inside = victim.read_bytes().find((made / "in" / "0005.jpg").read_bytes()[-60:-20])
    assert inside > 0
    flip(victim, inside + 5)

    (problem,) = cd.check(uri).problems
    assert (problem.what, problem.remedy, problem.keys) == ("pictures", "fetch", ("0005.jpg",))
    mended = cd.check(uri, repair=True)

    assert mended.sound
    assert cd.open_table(uri).to_table().sort_by("path").equals(expected)


def test_a_picture_that_is_gone_everywhere_is_removed_and_an_ingest_takes_in_what_is_there(
    uri: str, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "in", 4)
    own = str(tmp_path / "own.lance")
    ingest.from_images(str(tmp_path / "in"), into=own)
    victim, picture = data_files(own, "image")[0], tmp_path / "in" / "0002.jpg"
    flip(victim, victim.read_bytes().find(picture.read_bytes()[-60:-20]) + 5)
    held = picture.read_bytes()
    picture.unlink()

    mended = cd.check(own, repair=True)

    assert mended.sound
    assert any("removed 1 row whose picture is gone" in done for done in mended.repaired)
    assert cd.open_table(own).num_rows == 3
    picture.write_bytes(held)
    ingest.from_images(str(tmp_path / "in"), into=own)
    assert cd.open_table(own).num_rows == 4
    assert cd.check(own).sound


@pytest.mark.parametrize("how", ["cut", "removed"])
def test_rows_whose_own_file_is_gone_are_removed_on_request_and_the_same_ingest_brings_them_back(
    uri: str, made: Path, how: str
) -> None:
    expected = cd.open_table(uri).to_table(CONTENT).sort_by("path")
    victim = data_files(uri, "path")[0]
    cut(victim) if how == "cut" else victim.unlink()

    (problem,) = cd.check(uri).problems
    assert problem.remedy == "remove"
    assert problem.num_rows == 11
    assert f"clipdata ingest images {made / 'in'}" in problem.mending
    assert cd.open_table(uri).num_rows == 19

    mended = cd.check(uri, repair=True)
    assert mended.sound
    assert cd.open_table(uri).num_rows == 8
    ingest.from_images(str(made / "in"), into=uri)
    table = cd.open_table(uri)
    cd.map_column(table, Width(), "twice")
    assert table.to_table(CONTENT).sort_by("path").equals(expected)  # the deleted row stays deleted


@pytest.mark.parametrize("how", ["cut", "removed"])
def test_a_list_of_deleted_rows_that_is_gone_never_brings_deleted_rows_back(uri: str, made: Path, how: str) -> None:
    (victim,) = (Path(uri) / "_deletions").iterdir()
    cut(victim) if how == "cut" else victim.unlink()

    (problem,) = cd.check(uri).problems
    assert problem.name == f"_deletions/{victim.name}"
    assert problem.remedy == "remove"
    assert cd.check(uri, repair=True).sound
    ingest.from_images(str(made / "in"), into=uri)
    assert cd.open_table(uri).count_rows("path = '0003.jpg'") == 0
    assert cd.open_table(uri).num_rows == 19


def test_an_earlier_version_before_a_damaged_list_of_deleted_rows_is_named(uri: str) -> None:
    cd.compact(uri)
    compacted = cd.open_table(uri).version
    cd.delete(uri, "path = '0005.jpg'")
    deleted = cd.open_table(uri).version
    cd.drop(uri, ["format"])  # a version that has the list as well
    for path in (Path(uri) / "_deletions").iterdir():
        cut(path, 0)

    (problem,) = cd.check(uri).problems

    named = re.search(rf"clipdata restore {uri} (\d+)\)", problem.mending)
    assert named is not None
    assert compacted <= int(named[1]) < deleted
    cd.restore(uri, int(named[1]))
    assert cd.check(uri).sound
    assert cd.open_table(uri).num_rows == 19


def test_a_damaged_list_of_deleted_rows_is_found_where_pictures_lie_in_another_table(uri: str, tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("filename,label\n" + "".join(f"{n:04d}.jpg,{n}\n" for n in range(20)))
    ingest.from_parquet(str(tmp_path / "names.csv"), into=tmp_path / "names.lance")
    ingest.merge(uri, tmp_path / "names.lance", into=tmp_path / "both.lance")
    cd.delete(tmp_path / "both.lance", "label = '5'")
    for path in (tmp_path / "both.lance" / "_deletions").iterdir():
        cut(path, 0)

    (problem,) = cd.check(tmp_path / "both.lance").problems

    assert problem.name.startswith("_deletions/")


@pytest.mark.parametrize("how", ["emptied", "cut", "zeros", "removed"])
def test_a_damaged_index_is_found_and_made_again_by_what_is_said(uri: str, how: str) -> None:
    cd.index(uri, "path")
    for path in sorted((Path(uri) / "_indices").rglob("*.lance"), key=lambda path: path.stat().st_size)[-1:]:
        {
            "emptied": lambda path: cut(path, 0),
            "cut": cut,
            "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
            "removed": Path.unlink,
        }[how](path)

    (problem,) = cd.check(uri).problems

    assert (problem.what, problem.remedy, problem.columns) == ("index", "by hand", ("path",))
    assert main(shlex.split(problem.mending)[1:]) == 0
    assert cd.check(uri).sound


def test_tables_beside_a_table_are_looked_at_and_mended_with_it(tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("filename,label\na.jpg,1\nb.jpg,2\n")
    uri = tmp_path / "names.lance"
    ingest.from_parquet(str(tmp_path / "names.csv"), into=uri)
    beside = tmp_path / "names.taken.lance"
    for path in (beside / "data").iterdir():
        cut(path)
    with pytest.raises(StorageError, match=r"names\.taken\.lance: a file is damaged") as caught:
        ingest.from_parquet(str(tmp_path / "names.csv"), into=uri)
    assert f"clipdata check {beside}" in str(caught.value.hint)

    (problem,) = cd.check(uri).problems
    assert problem.beside == str(beside)
    assert str(problem).startswith(f"{beside}: file data/")
    assert cd.check(uri, repair=True).sound

    assert ingest.from_parquet(str(tmp_path / "names.csv"), into=uri).written.any is False
    assert cd.open_table(uri).num_rows == 2


def test_an_earlier_version_that_has_none_of_the_damaged_files_is_named(uri: str) -> None:
    cd.compact(uri)
    data_files(uri, "path")[0].unlink()

    (problem,) = cd.check(uri).problems

    named = re.search(rf"clipdata restore {uri} (\d+)\)", problem.mending)
    assert named is not None
    cd.restore(uri, int(named[1]))
    assert cd.check(uri).sound
    assert cd.open_table(uri).num_rows == 19


@pytest.mark.parametrize("how", ["cut", "emptied", "flipped"])
def test_a_damaged_newest_manifest_is_set_aside_and_the_last_good_version_is_the_newest(uri: str, how: str) -> None:
    newest = cd.open_table(uri).version
    victim = manifest(uri, newest)
    {"cut": cut, "emptied": lambda p: cut(p, 0), "flipped": lambda p: flip(p, 0, p.stat().st_size // 2)}[how](victim)
    with pytest.raises(StorageError) as refused:
        cd.open_table(uri)
    assert f"clipdata check {uri}" in str(refused.value.hint)

    (problem,) = cd.check(uri).problems
    assert problem.what == "version"
    assert str(newest - 1) in problem.mending
    assert victim.exists()

    mended = cd.check(uri, repair=True)

    assert mended.sound
    assert cd.open_table(uri).version == newest - 1
    assert (Path(f"{uri}.state") / "damaged" / f"{newest}.manifest").exists()
    cd.map_column(uri, Width(), "twice")
    assert cd.open_table(uri).count_rows("twice IS NULL") == 0


def test_a_damaged_manifest_of_an_old_version_is_told_with_its_tag_and_the_history_can_be_read_again(uri: str) -> None:
    cd.tag(uri, "raw", version=2)
    cut(manifest(uri, 2))
    with pytest.raises(StorageError):
        cd.log(uri)

    found = cd.check(uri)

    assert {problem.what for problem in found.problems} == {"version", "tag"}
    left = cd.check(uri, repair=True)
    assert [problem.what for problem in left.left] == ["tag"]
    assert cd.log(uri)


def test_tag_files_that_a_full_disk_left_empty_or_cut_are_found_and_written_again_where_their_version_is_known(
    uri: str,
) -> None:
    newest, folder = cd.open_table(uri), Path(uri, "_refs", "tags")
    for name in ("lost", "cut", "good"):
        cd.tag(uri, name, version=2)
    newest.tag(run := run_tag("first", newest.version), needed_by="runs/first")
    as_lance_wrote_it = set(json.loads((folder / "good.json").read_text()))
    for name in ("lost", run):
        (folder / f"{name}.json").write_bytes(b"")
    cut(folder / "cut.json", 40)
    with pytest.raises(StorageError, match="a file is damaged") as refused:
        cd.tag(uri)
    assert "clipdata check" in str(refused.value.hint)
    with pytest.raises(StorageError, match="a file is damaged"):
        cd.log(uri)

    found = cd.check(uri)

    assert {(one.what, one.name, one.remedy) for one in found.problems} == {
        ("tag", "cut", "name again"), ("tag", "lost", "set aside"), ("tag", run, "name again"),
    }  # fmt: skip
    assert "clipdata tag" in next(one.mending for one in found.problems if one.name == "lost")
    mended = cd.check(uri, repair=True)
    assert mended.sound
    assert [said.partition(" (")[0].partition(":")[0] for said in mended.repaired] == [
        "tag cut names version 2 again",
        "tag lost is none any more; its file was set aside",
        f"tag {run} names version {newest.version} again",
    ]
    assert {tag.name: tag.version for tag in cd.tag(uri).tags} == {"good": 2, "cut": 2, run: newest.version}
    assert cd.open_table(uri, version="cut").version == 2
    assert set(json.loads((folder / "cut.json").read_text())) == as_lance_wrote_it
    assert Path(f"{uri}.state", "damaged", "lost.json").read_bytes() == b""
    assert cd.tag(uri, "lost", version=2).done == "made"


@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        ("manifestSize", -5, "name again"),
        ("branch", 7, "name again"),
        ("metadata", 3, "name again"),
        ("metadata", {"a": 1}, "name again"),
        ("createdAt", "x", "name again"),
        ("version", -3, "set aside"),
        ("version", 1 << 64, "set aside"),
    ],
)
def test_what_lance_takes_for_no_tag_is_found_and_mended(uri: str, field: str, value: object, remedy: str) -> None:
    cd.tag(uri, "raw", version=2)
    cd.tag(uri, "good", version=2)
    file = Path(uri, "_refs", "tags", "raw.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {field: value}))
    with pytest.raises(StorageError, match="a file is damaged"):
        cd.tag(uri)

    (problem,) = cd.check(uri).problems

    assert (problem.name, problem.remedy) == ("raw", remedy)
    assert f"its {field} is {json.dumps(value)}" in problem.fault
    assert cd.check(uri, repair=True).sound
    assert {tag.name for tag in cd.tag(uri).tags} == {"good"} | ({"raw"} if remedy == "name again" else set())


def test_a_folder_in_a_tags_place_is_set_aside(uri: str) -> None:
    cd.tag(uri, "good", version=2)
    Path(uri, "_refs", "tags", "dir.json").mkdir()

    (problem,) = cd.check(uri).problems

    assert (problem.name, problem.remedy) == ("dir", "set aside")
    assert "it is a folder" in problem.fault
    assert cd.check(uri, repair=True).sound
    assert [tag.name for tag in cd.tag(uri).tags] == ["good"]


def test_a_damaged_tag_whose_version_is_gone_is_set_aside_and_says_which_it_was(uri: str) -> None:
    cd.tag(uri, "raw", version=2)
    file = Path(uri, "_refs", "tags", "raw.json")
    file.write_text(file.read_text().replace('"version": 2', '"version": 77').replace('"manifestSize"', '"size"'))

    (problem,) = cd.check(uri).problems

    assert problem.remedy == "set aside"
    assert "does not hold version and manifestSize" in problem.fault
    assert "it named version 77, which is gone" in problem.mending
    assert cd.check(uri, repair=True).sound


def test_a_table_without_a_version_that_can_be_read_is_told_and_left_alone(uri: str) -> None:
    for path in (Path(uri) / "_versions").glob("*.manifest"):
        cut(path, 8)
    before = files_below(uri)

    found = cd.check(uri, repair=True)

    assert found.version is None
    assert "(no version can be read)" in str(found)
    assert f"mv {uri} {uri}.damaged" in found.problems[0].mending
    assert not found.repairable
    assert files_below(uri) == before


def test_a_sample_reads_some_files_and_looks_at_the_size_of_all(uri: str) -> None:
    for path in data_files(uri, "twice"):
        path.unlink()

    found = cd.check(uri, sample=1)

    assert found.num_read <= 1 < found.num_files
    assert len(found.problems) == 2


def test_no_table_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        cd.check(tmp_path / "none.lance")


def test_the_command_tells_json_exits_with_1_and_repairs_nothing_unless_agreed_to(
    uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", uri, "--json"]) == 0
    check_schema(json.loads(capsys.readouterr().out), schema_of("check", check_verb.found))
    data_files(uri, "twice")[0].unlink()
    before = files_below(uri)

    assert main(["check", uri, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    check_schema(told, schema_of("check", check_verb.found))
    assert told["next"] == f"clipdata check {uri} --repair"
    assert main(["check", uri, "--repair"]) == 2  # nobody can be asked
    assert files_below(uri) == before
    capsys.readouterr()

    assert main(["check", uri, "--repair", "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sound"]
    assert told["next"] == f"clipdata refresh {uri} twice"


def test_bytes_that_changed_in_any_file_of_a_version_are_found_and_mended_or_change_nothing(
    uri: str, tmp_path: Path
) -> None:
    whole = cd.open_table(uri).to_table()
    random_ = random.Random(0)
    files = [path for path in sorted(Path(uri).rglob("*")) if path.suffix in (".lance", ".manifest", ".arrow")]
    num_found = 0
    for number in range(24):
        copy = tmp_path / f"{number}.lance"
        shutil.copytree(uri, copy)
        victim = copy / random_.choice(files).relative_to(uri)
        flip(victim, random_.randrange(victim.stat().st_size - 8), random_.choice([1, 8]))

        found = cd.check(copy)

        told = f"{victim.name}, byte flip {number}"
        if not found.problems:
            assert cd.open_table(copy).to_table().equals(whole), told
            continue
        num_found += 1
        assert cd.check(copy, repair=True).sound, told
        assert cd.open_table(copy).to_table().num_rows >= 0, told
    assert num_found >= 5
