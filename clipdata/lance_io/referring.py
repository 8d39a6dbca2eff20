"""How rows come to refer to pictures of another table, and what a table says of the pictures it refers to.

A version that rows refer to carries a tag, so that no clean-up removes it, and is noted in the metadata of the
referring table under a name of its own. So rows of several versions may stand side by side while a merge is under way,
and each says by itself what it means. How they are read stands in `pictures`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from clipdata.column_names import quoted
from clipdata.errors import ClipdataError, CredentialsError, NotFoundError, StorageError
from clipdata.lance_io.data_files import digest_of_files
from clipdata.lance_io.faults import translated, with_retries
from clipdata.lance_io.opening import open_dataset
from clipdata.lance_io.pictures import PictureTable, picture_tables, place_columns, relative_to
from clipdata.lance_io.rows import set_table_metadata, table_metadata
from clipdata.lance_io.table import Table, open_table
from clipdata.lance_io.tag_lock import alone_with_tags
from clipdata.lance_io.tags import pictures_tag
from clipdata.lance_io.version_numbers import version_numbers
from clipdata.plurals import counted
from clipdata.storage import redact


@dataclass(frozen=True)
class Referred:
    """Rows of a table that refer to pictures of one version of another.

    Args:
        name: what the rows call the version.
        words: the same for people, such as "images.lance@7".
        uri: where the other table is now, or was.
        version: of it.
        num_rows: that refer to it.
        num_pictures: different ones of them.
        problem: why they cannot be read; None when they can.
    """

    name: str
    words: str
    uri: str
    version: int | None
    num_rows: int
    num_pictures: int
    problem: str | None

    def __str__(self) -> str:
        rows = counted(self.num_rows, "row refers", "rows refer")
        said = f"{rows} to {counted(self.num_pictures, 'picture')} of {self.words}"
        return said + (f" ({self.problem})" if self.problem else "")


def refer(table: Table, images: Table, column: str) -> None:
    """Let rows of a table refer to pictures of another one at its version.

    Args:
        table: moved to the version that notes where the pictures are.
        images: pinned; its version is tagged, so that it stays.
        column: of the pictures there.

    Raises:
        StorageError: the version cannot be tagged.
        CredentialsError: the store does not let anybody tag it.
    """
    digest, tag = digest_of_files(images), pictures_tag(table.uri, images.version)
    relative = relative_to(table.uri, images.uri)
    wanted = PictureTable(_name(images, digest), images.uri, relative, column, images.version, tag, digest)
    table.move_to(table.latest())
    if picture_tables(table_metadata(table)).get(wanted.name) != wanted:  # before the tag, or nobody would remove it
        set_table_metadata(table, {wanted.key: wanted.to_json()})
        table.move_to(table.latest())
    try:
        images.tag(tag, needed_by=table.uri)
    except (StorageError, CredentialsError) as error:
        raise type(error)(
            f"{error.message}; rows can refer only to a version that is tagged, or a clean-up would remove it",
            hint="copy the pictures: --copy-images (copy_images=True)",
        ) from error


def name_of(images: Table) -> str:
    """What rows call a version of a table; see `pictures`."""
    return _name(images, digest_of_files(images))


def words_of(images: Table) -> str:
    """A version of a table, for people."""
    return f"{redact(images.uri).rsplit('/', 1)[-1]}@{images.version}"


def point_anew(table: Table, found: pa.Table) -> int:
    """Let rows refer to other places; nothing else of them changes, and what was derived from them stays.

    Args:
        found: the key, `etag`, and columns to replace. Rows whose etag is another one by now are left as they are.

    Returns:
        Number of rows that were changed.
    """
    key = table.key
    assert key is not None, "a merged table has a key"

    def attempt() -> int:
        dataset = open_dataset(table.uri, None, table.storage)
        builder = dataset.merge_insert(key).when_matched_update_all("source.etag = target.etag")
        done = builder.write_mode("rewrite_columns").conflict_retries(20).execute(found)
        return int(done["num_updated_rows"])

    with translated(table.uri, "writing"):
        return with_retries(attempt)


def release(table: Table, images: Table) -> None:
    """Let go of versions of the images that no row refers to any more: their tags go with the last version that did.

    Args:
        table: at its newest version.
        images: of any version.
    """
    known = picture_tables(table_metadata(table))
    if not known:
        return
    used = {referred.name for referred in referred_by(table, look=False)}
    idle = [one for one in known.values() if one.name not in used]
    until = {one.name: None if one.name in used else one.until or table.version for one in known.values()}
    changed = [
        dataclasses.replace(one, until=until[one.name]) for one in known.values() if one.until != until[one.name]
    ]
    if changed:
        set_table_metadata(table, {one.key: one.to_json() for one in changed})
        table.move_to(table.latest())
    if not idle:
        return
    oldest = min(version_numbers(table.uri, table.storage))
    for one in idle:
        # A copy of the table's folder names the tags of the first.
        is_own = one.tag == pictures_tag(table.uri, one.version)
        if is_own and one.until is not None and one.until < oldest and images.uri in one.places(table.uri):
            _untag(images, one.tag)


def referred_by(table: Table, *, look: bool = True) -> list[Referred]:
    """What the rows of a table refer to.

    Args:
        look: whether it can be read as well.
    """
    columns = place_columns(table.schema)
    if len(columns) < 2:
        return []
    row, place = map(quoted, columns)
    counted = table.query(
        f"SELECT {place} AS name, count(*) AS num_rows, count(DISTINCT {row}) AS num_pictures "  # noqa: S608
        f"FROM dataset WHERE {row} IS NOT NULL GROUP BY {place} ORDER BY name"
    )
    known = picture_tables(table_metadata(table))
    return [_referred(table, known, record, look=look) for record in counted.to_pylist()]


def _referred(table: Table, known: Mapping[str, PictureTable], record: Mapping[str, object], *, look: bool) -> Referred:
    name = str(record["name"])
    noted = known.get(name)
    uri, problem = noted.uri if noted else "", None
    if look:
        try:
            uri = table.pictures.table(name).uri
        except NotFoundError:
            problem = "not found"
        except ClipdataError as error:
            problem = error.message
    return Referred(
        name=name,
        words=noted.words if noted else name,
        uri=uri,
        version=noted.version if noted else None,
        num_rows=int(str(record["num_rows"])),
        num_pictures=int(str(record["num_pictures"])),
        problem=problem,
    )


def _name(images: Table, digest: str) -> str:
    return f"{words_of(images)}#{digest[:8]}"


def _untag(images: Table, tag: str) -> None:
    tags = open_table(images.uri, storage=images.storage).dataset.tags

    def attempt() -> None:
        if tag in tags.list():
            tags.delete(tag)

    with translated(images.uri, "removing a tag of"), alone_with_tags(images.uri):
        with_retries(attempt)
