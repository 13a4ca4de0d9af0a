"""The categories, the labels that a language model may give, and which category each label belongs to."""

from __future__ import annotations

UNKNOWN = "UNKNOWN"
FUNCTION = "function words"
"""Articles and the like: they are no parts, and apart from words that nobody knows."""
CATEGORIES = (
    UNKNOWN,
    "action",
    "animal",
    "clothing",
    "color",
    "company",
    "comparison",
    "composition",
    "culture",
    "events",
    "food & drink",
    "human attributes",
    "indoor scene",
    "interaction",
    "location",
    "material & texture",
    "money",
    "movie & game",
    "nationality",
    "nature",
    "objects",
    "outdoor scene",
    "person",
    "plants & flowers",
    "position",
    "preposition",
    "quantity & number & size",
    "shape & style & state",
    "sport",
    "story",
    "technology",
    "text",
    "time",
    "traffic",
    "weather",
)
"""The 35 merged categories."""
TABLE_VERSION = 2
"""Raised when a label gets another category; a part of the identity of shares by a language model."""
_LABELS = {
    "UNKNOWN": "atmosphere, ornate, purpose",
    "action": "action, actions, activity, motion, gesture, verb",
    "animal": "animal, animals, bird, insect, pet",
    "clothing": "accessories, clothing, jewelry, clothes, accessory, footwear",
    "color": "color, colour, colors, colours",
    "company": "brand, company, company name, service, logo, organization",
    "comparison": "comparison",
    "composition": "composition, arrangement, photography, image, picture",
    "culture": "architecture, art, art style, culture, music, religion",
    "events": "award, event, holiday, holiday event, events, celebration, occasion",
    "food & drink": (
        "condiment, cuisine, dessert, drink, flavor, food, fruit, fruits, meal, sauce, taste, vegetable, "
        "beverage, food and drink"
    ),
    "human attributes": (
        "age, body part, emotion, facial expression, hair color, hair style, language, old, young, hair, body "
        "parts, expression, attribute"
    ),
    "indoor scene": (
        "door, doorway, floor, furniture, house, indoor scene, light, lighting, room, rooms, wall, window, "
        "windows, indoor, indoors, kitchen, bathroom"
    ),
    "interaction": "interaction, interactions, relationship",
    "location": (
        "castle, city, indoor scene/outdoor scene, location, location or place, location or places, locations "
        "or places, place, places, country"
    ),
    "material & texture": "material, metal, surface, texture, wood, wooden, fabric",
    "money": "money, price, currency",
    "movie & game": "game, movie, sound, theme, title, film, video game",
    "nationality": "nationality",
    "nature": "body of water, enclosure, fire, mountain, nature, water, waterfall, landscape, sky, environment",
    "objects": "container, object, objects, tool, tools, toy, toys, thing, item, instrument",
    "outdoor scene": (
        "background, building, buildings, graffiti, outdoor scene, path, road, store, street, trail, outdoor, "
        "outdoors, scene"
    ),
    "person": (
        "family, female, group, group of people, male, person, team, people, man, woman, child, boy, girl, human"
    ),
    "plants & flowers": "flower, plant, plants, flowers, tree",
    "position": "orientation, position, relation, relations, layout, pose",
    "preposition": "preposition, conjunction",
    "quantity & number & size": "miniature, number, numbers, quantity, size, weight, amount",
    "shape & style & state": "liquid, pattern, shape, state, structure, style, condition, form, design, quality",
    "sport": "sport, sports",
    "story": "fairy, mythical creature, story, fiction, character",
    "technology": "electronics, technology, electronic, device",
    "text": "text, letter, word, letters",
    "time": "month, season, time, day, date",
    "traffic": "direction, part of vehicle, sign, signs, speed, transportation, vehicle, vehicles, traffic",
    "weather": "temperature, weather",
}
"""Labels by category. Where the published work assigns a label, it is assigned likewise, so that its shares come out:
relation is a position there, season a time, light an indoor scene, architecture a culture."""
CATEGORY_OF = {label.strip(): category for category, labels in _LABELS.items() for label in labels.split(",")} | {
    category.lower(): category for category in CATEGORIES
}
"""Labels in lower case."""


def merged(label: str) -> str:
    """The category of a label; UNKNOWN for an empty one and for one that is on no list."""
    return CATEGORY_OF.get(label.strip().lower(), UNKNOWN)
