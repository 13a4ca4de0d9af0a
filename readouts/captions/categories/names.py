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
_LABELS = {
    "action": "action, actions, activity, motion, gesture, verb",
    "animal": "animal, animals, bird, insect, pet",
    "clothing": "clothing, clothes, accessories, accessory, footwear, jewelry",
    "color": "color, colour, colors, colours",
    "company": "company, brand, logo, organization",
    "comparison": "comparison",
    "composition": "composition, pattern, arrangement, photography, image, picture",
    "culture": "culture, art, music, religion",
    "events": "event, events, celebration, holiday, occasion",
    "food & drink": "food, drink, dessert, fruits, fruit, vegetable, meal, beverage, food and drink",
    "human attributes": (
        "young, old, age, expression, emotion, hair, body part, body parts, attribute, human attributes"
    ),
    "indoor scene": "indoor, indoors, rooms, room, furniture, kitchen, bathroom, indoor scene",
    "interaction": "interaction, interactions, relation, relations, relationship",
    "location": "places, place, location, city, country",
    "material & texture": "material, texture, surface, fabric",
    "money": "money, price, currency",
    "movie & game": "movie, game, film, video game",
    "nationality": "nationality",
    "nature": "nature, water, landscape, sky, lighting, light, season, atmosphere, environment",
    "objects": "object, objects, tools, tool, toys, toy, thing, item, instrument",
    "outdoor scene": "outdoor, outdoors, scene, buildings, building, architecture, background, outdoor scene",
    "person": "person, people, male, female, man, woman, child, boy, girl, human, group",
    "plants & flowers": "plants, plant, flower, flowers, tree",
    "position": "position, orientation, layout, direction, pose",
    "preposition": "preposition, conjunction",
    "quantity & number & size": "numbers, number, quantity, size, amount",
    "shape & style & state": "shape, style, state, condition, form, design, quality",
    "sport": "sport, sports",
    "story": "story, fiction, character",
    "technology": "technology, electronics, electronic, device",
    "text": "text, letter, word, letters",
    "time": "time, day, date",
    "traffic": "traffic, vehicle, vehicles, transportation, signs, sign, road",
    "weather": "weather",
}
CATEGORY_OF = {label.strip(): category for category, labels in _LABELS.items() for label in labels.split(",")} | {
    category.lower(): category for category in CATEGORIES
}
"""Labels in lower case."""


def merged(label: str) -> str:
    """The category of a label; UNKNOWN for an empty one and for one that is on no list."""
    return CATEGORY_OF.get(label.strip().lower(), UNKNOWN)
