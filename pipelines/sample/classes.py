"""Classes of the sample's pictures, from the subcategories of the Unicode standard; each has pictures in both splits.

A class is called as its folder is: underscores stand for spaces. It knows names only.
"""

from __future__ import annotations

_CLASSES = {
    "aircraft": ("transport-air",),
    "bird": ("animal-bird",),
    "boat": ("transport-water",),
    "body_part": ("body-parts",),
    "bug": ("animal-bug",),
    "building": ("hotel", "place-building", "place-religious"),
    "clothing": ("clothing",),
    "drink": ("drink",),
    "electronic_device": ("computer", "light & video", "phone"),
    "face": ("cat-face",),  # and every face-…
    "fruit": ("food-fruit",),
    "game_or_craft": ("arts & crafts", "game"),
    "ground_vehicle": ("transport-ground",),
    "hand": ("hands",),  # and every hand-…
    "heart_or_emotion": ("emotion", "heart"),
    "household_item": ("household", "time"),
    "mammal": ("animal-mammal",),
    "music_or_sound": ("music", "musical-instrument", "sound"),
    "other_object": ("medical", "money", "other-object", "science"),
    "paper_or_office": ("book-paper", "mail", "office", "writing"),
    "party_or_event": ("event",),
    "person": ("family", "person"),  # and every person-…
    "place": ("place-geographic", "place-map", "place-other"),
    "plant": ("plant-flower", "plant-other"),
    "prepared_food": ("food-asian", "food-prepared"),
    "reptile_or_amphibian": ("animal-amphibian", "animal-reptile"),
    "sea_animal": ("animal-marine",),
    "sky_or_weather": ("sky & weather",),
    "sport": ("award-medal", "sport"),
    "sweet": ("food-sweet",),
    "tableware": ("dishware",),
    "tool_or_lock": ("lock", "tool"),
    "vegetable": ("food-vegetable",),
}
CLASS_OF = {subcategory: name for name, members in _CLASSES.items() for subcategory in members}
_KINDS = ("face", "hand", "person")


def class_of(subcategory: str) -> str:
    """The class of a subcategory; one that is new here is a class of its own."""
    kind = subcategory.partition("-")[0]
    return CLASS_OF.get(subcategory) or (kind if kind in _KINDS else subcategory.replace("-", "_").replace(" ", "_"))
