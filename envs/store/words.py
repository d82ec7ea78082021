"""The words that a shop's world is drawn from. Data alone; nothing here is drawn."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of product: what it is called, what it costs, and in which options it comes."""

    noun: str
    option: str
    """What a buyer chooses, such as "Size"."""
    options: tuple[str, ...]
    lowest: int
    """In whole currency units."""
    highest: int
    about: str


class Shelf(NamedTuple):
    """One category of the catalogue."""

    slug: str
    name: str
    blurb: str
    kinds: tuple[Kind, ...]


SHELVES = (
    Shelf(
        "kitchen",
        "Kitchen",
        "For the table and the stove.",
        (
            Kind("Kettle", "Capacity", ("1 litre", "1.7 litres"), 35, 89, "boils without fuss"),
            Kind("Teapot", "Capacity", ("Two cups", "Six cups"), 24, 58, "pours without a drip"),
            Kind("Mug", "Glaze", ("Matt", "Gloss"), 9, 19, "keeps coffee warm for a long talk"),
            Kind("Saucepan", "Width", ("16 cm", "20 cm"), 29, 75, "heats evenly on any hob"),
        ),
    ),
    Shelf(
        "lighting",
        "Lighting",
        "Warm light for long evenings.",
        (
            Kind("Table Lamp", "Shade", ("Linen", "Paper"), 39, 99, "lights a book and no more"),
            Kind("Floor Lamp", "Height", ("140 cm", "165 cm"), 79, 169, "stands where you sit"),
            Kind("Lantern", "Size", ("Small", "Large"), 19, 49, "carries a candle outdoors"),
            Kind("Pendant", "Cord", ("1 metre", "2 metres"), 45, 119, "hangs low over a table"),
        ),
    ),
    Shelf(
        "textiles",
        "Textiles",
        "Wool, linen and cotton.",
        (
            Kind("Blanket", "Size", ("Single", "Double"), 49, 129, "is woven from soft wool"),
            Kind("Cushion", "Filling", ("Feather", "Fibre"), 18, 45, "holds its shape"),
            Kind("Towel", "Size", ("Hand", "Bath"), 12, 34, "dries fast and lasts"),
            Kind("Rug", "Size", ("Runner", "Room"), 69, 199, "lies flat and wears well"),
        ),
    ),
    Shelf(
        "bags",
        "Bags",
        "Made to be carried every day.",
        (
            Kind("Backpack", "Volume", ("18 litres", "26 litres"), 59, 139, "sits close"),
            Kind("Tote", "Handles", ("Short", "Long"), 19, 49, "folds away to nothing"),
            Kind("Satchel", "Strap", ("Canvas", "Leather"), 69, 149, "holds what a day needs"),
            Kind("Pouch", "Size", ("Small", "Medium"), 9, 25, "keeps small things together"),
        ),
    ),
    Shelf(
        "desk",
        "Desk",
        "Paper, pens and a tidy place.",
        (
            Kind("Notebook", "Ruling", ("Lined", "Dotted"), 8, 22, "opens flat at every page"),
            Kind("Pen Case", "Size", ("Slim", "Wide"), 12, 32, "has room for a ruler"),
            Kind("Desk Tray", "Wood", ("Oak", "Walnut"), 24, 59, "keeps letters in one place"),
            Kind("Clock", "Hands", ("Thin", "Broad"), 29, 79, "runs without a tick"),
        ),
    ),
    Shelf(
        "garden",
        "Garden",
        "For a balcony or a bed.",
        (
            Kind("Planter", "Width", ("20 cm", "30 cm"), 15, 49, "drains as it should"),
            Kind("Watering Can", "Volume", ("2 litres", "5 litres"), 22, 48, "has a long spout"),
            Kind("Trowel", "Handle", ("Ash", "Beech"), 11, 28, "keeps its edge"),
            Kind("Bird Feeder", "Seed", ("Small seed", "Large seed"), 14, 39, "hangs in any tree"),
        ),
    ),
)

MODELS = (
    *("Alder", "Birch", "Cedar", "Dover", "Ember", "Fjord", "Garnet", "Hazel", "Indigo", "Juniper"),
    *("Kestrel", "Larch", "Marlow", "Nettle", "Orchard", "Pebble", "Quarry", "Rowan", "Sorrel"),
    *("Thistle", "Umber", "Velden", "Willow", "Yarrow", "Zephyr", "Aspen", "Bramble", "Clover"),
    *("Delta", "Elm", "Fennel", "Grove", "Heron", "Islay", "Jasper", "Kelp", "Linden", "Meadow"),
    *("Norland", "Osprey", "Poplar", "Quill", "Ridge", "Saffron", "Tarn", "Ulverton", "Vesper"),
    *("Wren", "Yew", "Zinnia"),
)
BRANDS = ("Hartwell", "Okada & Sons", "Nordby", "Castellan", "Fen Works", "Marisol")
COLOURS = ("Blue", "Cream", "Green", "Grey", "Rust", "Yellow")
MATERIAL_NOTES = (
    "Made in small batches and checked by hand.",
    "The finish is free of solvents and ages well.",
    "Packed in card, without plastic.",
    "Repairs are free for the first five years.",
)

FIRST_NAMES = (
    *("Maya", "Jonas", "Leila", "Tomas", "Ines", "Amara", "Felix", "Noor", "Oskar", "Priya"),
    *("Ruben", "Sofia", "Teo", "Vera", "Yusuf", "Clara"),
)
LAST_NAMES = (
    *("Okafor", "Lindqvist", "Haddad", "Novak", "Moreau", "Castro", "Brandt", "Rahman", "Berg"),
    *("Patel", "Silva", "Weiss", "Kimura", "Doyle", "Farah", "Jensen"),
)
STREETS = (
    *("Mill Lane", "Station Road", "Orchard Street", "Bridge Row", "Castle Hill", "Weaver Street"),
    *("Harbour Walk", "Chapel Close", "Foundry Yard", "Meadow View"),
)
CITIES = (
    *(("Ashford", "AS"), ("Brookfield", "BR"), ("Carrow", "CA"), ("Denholm", "DE")),
    *(("Eastvale", "EA"), ("Fairhaven", "FA"), ("Glenmore", "GL"), ("Holloway", "HO")),
)
"""A city and the letters with which its postcodes begin."""
PLACES = ("Allotment", "Annexe", "Boathouse", "Cottage", "Gallery", "Greenhouse", "Loft", "Stables")
"""What customers call a place beside home and office."""
SECRET_WORDS = (
    *("copper", "lantern", "otter", "maple", "violet", "harbour", "pepper", "saddle", "timber"),
    *("walnut", "marble", "cobalt"),
)
REVIEWS = (
    (5, "Better than the photograph, and it arrived a day early."),
    (4, "Well made. The packing could be smaller."),
    (3, "Does what it should, no more."),
    (2, "A little smaller than I had hoped."),
    (5, "I bought a second one for my sister."),
    (4, "Good weight, nice colour, fair price."),
)
CODES = ("SPRING", "WELCOME", "HARVEST", "TEATIME", "FRIENDS")
RETURN_REASONS = ("Arrived damaged", "Wrong item", "Not as described", "No longer needed")
