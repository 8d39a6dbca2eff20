"""Makes the canary's pictures from the photographs of GCompris, as Debian packages them.

    apt-get download gcompris-qt-data && dpkg -x gcompris-qt-data_3.1-2_all.deb DIR
    python -m clipdata.training.canary_set.build_set --package DIR --out DIR

Taken are photographs that their authors gave into the public domain or under CC0 (each is said in the README beside
the pictures), one object a picture, no object twice. They are made smaller and stored as JPEG. The same package always
gives the same names, classes and credits. Nothing else of the project reads that package.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from PIL import Image

from clipdata.errors import NotFoundError

LONGEST_SIDE = 256
QUALITY = 72
FREE = ("public domain", "cc0-1.0")
_ACTIVITIES = ("categorization", "erase", "explore_farm_animals", "explore_monuments", "explore_world_animals")
_IS_FOLDER, _IS_COMPRESSED = 2, 1

# English name, Chinese name, pictures: the last parts of their paths in the package, without `.webp`.
CHOSEN: tuple[tuple[str, str, str], ...] = (
    ("fish", "鱼", "fishes/fish1 fishes/fish3 fishes/fish12 fishes/fish21"),
    ("goldfish", "金鱼", "fishes/fish25"),
    ("clownfish", "小丑鱼", "fishes/fish9"),
    ("hammer", "锤子", "tools/hammer1 tools/hammer2 tools/hammer5 tools/hammer9"),
    ("measuring tape", "卷尺", "tools/measuringTape1 tools/measuringTape3 tools/measuringTape5"),
    ("pair of pliers", "钳子", "tools/plier1 tools/plier3 tools/plier4"),
    ("pair of scissors", "剪刀", "tools/scissors1 tools/scissors2 tools/scissors4"),
    ("screwdriver", "螺丝刀", "tools/screwDriver1 tools/screwDriver2"),
    ("multimeter", "万用表", "tools/multimeter1 tools/multimeter3"),
    ("wrench", "扳手", "tools/wrench1"),
    ("pair of tweezers", "镊子", "tools/tweezer"),
    ("nail clipper", "指甲刀", "tools/nailCutter"),
    ("sickle", "镰刀", "tools/sickle"),
    ("spray bottle", "喷雾瓶", "tools/spray"),
    ("windmill", "风车", "renewable/windmill renewable/windmill1 renewable/windmill8 renewable/windmill12"),
    ("solar panel", "太阳能电池板", "renewable/solar4 renewable/solar6 renewable/solar7"),
    ("dam", "水坝", "renewable/dam1 renewable/dam3 renewable/dam5"),
    ("geyser", "间歇泉", "renewable/geothermal"),
    ("pyramid", "金字塔", "monuments/greatPyramid egypt/bentPyramid egypt/redPyramid"),
    ("castle", "城堡", "france/chateaudeChambord germany/neuschwansteinCastle germany/schwerinPalace"),
    ("cathedral", "大教堂", "germany/berlinCathedral germany/wormsCathedral france/reimsCathedral"),
    ("tower", "塔", "monuments/eiffelTower monuments/leaningTowerOfPisa monuments/bayterek"),
    ("triumphal arch", "凯旋门", "monuments/arcDeTriomphe monuments/IndiaGate india/gatewayofIndia"),
    ("amphitheatre", "圆形剧场", "monuments/colosseum france/arlesAmphitheater"),
    ("statue", "雕像", "monuments/christTheRedeemer usa/statueofLiberty usa/cabrillo"),
    ("skyscraper", "摩天大楼", "monuments/burj monuments/empireState"),
    ("aqueduct", "渡槽", "france/pontduGard"),
    ("stone wall", "石墙", "wonders/greatWallofChina"),
    ("igloo", "冰屋", "others/igloo"),
    ("baseball", "棒球", "others/baseball"),
    ("volleyball", "排球", "others/volleyball"),
    ("blackboard", "黑板", "others/blackslate"),
    ("bucket", "桶", "others/bucket"),
    ("tea cup", "茶杯", "others/cup"),
    ("light bulb", "灯泡", "others/bulb"),
    ("chair", "椅子", "others/chair"),
    ("frying pan", "平底锅", "others/pan"),
    ("pencil", "铅笔", "others/pencil"),
    ("pillow", "枕头", "others/pillow"),
    ("plate", "盘子", "others/plate"),
    ("set of spoons", "勺子", "others/spoons"),
    ("kitchen scale", "电子秤", "others/weighingMachine"),
    ("cat", "猫", "explore_farm_animals/cat"),
    ("dog", "狗", "explore_farm_animals/dog"),
    ("cow", "奶牛", "explore_farm_animals/cow"),
    ("horse", "马", "explore_farm_animals/horse"),
    ("sheep", "绵羊", "explore_farm_animals/sheep"),
    ("pig", "猪", "explore_farm_animals/pig"),
    ("chicken", "鸡", "explore_farm_animals/chicken"),
    ("duck", "鸭子", "explore_farm_animals/duck"),
    ("owl", "猫头鹰", "explore_farm_animals/owl"),
    ("crab", "螃蟹", "erase/crab"),
    ("kingfisher", "翠鸟", "erase/kingfisher"),
    ("red panda", "小熊猫", "erase/red_panda"),
    ("giant panda", "大熊猫", "explore_world_animals/panda"),
    ("polar bear", "北极熊", "explore_world_animals/polar_bear"),
    ("bison", "野牛", "explore_world_animals/bison"),
    ("chameleon", "变色龙", "explore_world_animals/chameleon"),
    ("crocodile", "鳄鱼", "explore_world_animals/crocodile"),
    ("giraffe", "长颈鹿", "explore_world_animals/giraffe"),
    ("hedgehog", "刺猬", "explore_world_animals/hedgehog"),
    ("jaguar", "美洲豹", "explore_world_animals/jaguar"),
    ("kangaroo", "袋鼠", "explore_world_animals/kangaroo"),
    ("koala", "考拉", "explore_world_animals/koala"),
    ("lemur", "狐猴", "explore_world_animals/lemur"),
    ("moose", "驼鹿", "explore_world_animals/moose"),
    ("parrot", "鹦鹉", "explore_world_animals/scarlet_macaw"),
)


def main() -> None:
    """Write the pictures, and what is known of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, required=True, help="the unpacked package gcompris-qt-data")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    given = parser.parse_args()
    files = dict(_files(given.package))
    credited = _credits(files)
    (given.out / "pictures").mkdir(parents=True, exist_ok=True)
    told = []
    for english, _, named in CHOSEN:
        for place, ending in enumerate(named.split(), 1):
            path = _path(ending, files)
            file = f"{english.replace(' ', '-')}-{place}.jpg"
            (given.out / "pictures" / file).write_bytes(_smaller(files[path]))
            told.append({"file": file, "class": english, **_free(path, credited)})
    classes = [{"en": english, "zh": chinese} for english, chinese, _ in CHOSEN]
    text = json.dumps({"classes": classes, "pictures": told}, ensure_ascii=False, indent=1)
    (given.out / "set.json").write_text(text + "\n", encoding="utf-8")


def _path(ending: str, files: dict[str, bytes]) -> str:
    """The one picture whose path ends so; a first part that names an activity stands for its folder."""
    folder, _, name = ending.rpartition("/")
    found = [path for path in files if path.endswith(f"/{name}.webp") and f"/{folder}/" in path]
    if len(found) != 1:
        raise NotFoundError(f"the package holds {len(found)} pictures {ending!r}; expected one")
    return found[0]


def _smaller(webp: bytes) -> bytes:
    picture = Image.open(io.BytesIO(webp)).convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture)
    small = ground.convert("RGB")
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    small.save(written, "JPEG", quality=QUALITY, optimize=True)
    return written.getvalue()


def _free(path: str, credited: dict[str, dict[str, str]]) -> dict[str, str]:
    """Author, licence and source of a picture; only what is free of conditions is taken."""
    credit = credited.get(path, {})
    if credit.get("License", "").lower() not in FREE:
        raise NotFoundError(f"{path} is licensed {credit.get('License')!r}; expected one of {FREE}")
    return {"author": credit["Copyright"], "licence": credit["License"], "source": credit["Source"]}


def _credits(files: dict[str, bytes]) -> dict[str, dict[str, str]]:
    """What the README beside pictures says of each: blocks of `Name: value` lines, the last of them the files."""
    credited: dict[str, dict[str, str]] = {}
    for path, content in files.items():
        if not path.endswith("/README"):
            continue
        for block in re.split(r"\n\s*\n", content.decode()):
            said = dict(re.findall(r"^(Copyright|License|Source):\s*(.*?)\s*$", block, re.MULTILINE))
            for name in re.findall(r"^(?:Files:\s*)?(\S+\.webp)\s*$", block, re.MULTILINE):
                credited[str(PurePosixPath(path).parent / name)] = said
    return credited


def _files(package: Path) -> Iterator[tuple[str, bytes]]:
    """Paths and contents of the activities' files."""
    folder = package / "usr" / "share" / "gcompris-qt" / "rcc"
    for activity in _ACTIVITIES:
        try:
            yield from _unpacked((folder / f"{activity}.rcc").read_bytes())
        except FileNotFoundError as error:
            raise NotFoundError(f"{folder} holds no {activity}.rcc; expected an unpacked gcompris-qt-data") from error


def _unpacked(rcc: bytes) -> Iterator[tuple[str, bytes]]:
    """The files of one of Qt's resource collections.

    Source: Qt's rcc format, version 1 to 3: a tree of 14 or 22 bytes an entry, contents with their lengths before
    them, and names in UTF-16.
    """
    version, tree, contents, names = struct.unpack(">4I", rcc[4:20])
    entry_bytes = 22 if version >= 2 else 14

    def below(index: int, parent: str) -> Iterator[tuple[str, bytes]]:
        at = tree + index * entry_bytes
        name_at, flags = struct.unpack(">IH", rcc[at : at + 6])
        length = struct.unpack(">H", rcc[names + name_at : names + name_at + 2])[0]
        name = rcc[names + name_at + 6 : names + name_at + 6 + 2 * length].decode("utf-16-be") if index else ""
        path = f"{parent}/{name}" if index else ""
        if flags & _IS_FOLDER:
            count, first = struct.unpack(">II", rcc[at + 6 : at + 14])
            for child in range(first, first + count):
                yield from below(child, path)
            return
        start = contents + struct.unpack(">I", rcc[at + 10 : at + 14])[0]
        size = struct.unpack(">I", rcc[start : start + 4])[0]
        content = rcc[start + 4 : start + 4 + size]
        yield path, zlib.decompress(content[4:]) if flags & _IS_COMPRESSED else content

    yield from below(0, "")


if __name__ == "__main__":
    main()
