"""A hand lexicon of frequent caption words: deterministic, instant, one category a word."""

from __future__ import annotations

from functools import cache

from readouts.captions.categories.answers import CaptionPart
from readouts.captions.categories.names import FUNCTION, UNKNOWN
from readouts.captions.parsing import NUMBERS, words_of

_NUMBER = "quantity & number & size"
_WORDS = {
    FUNCTION: (
        "a an the and or but of to is are was were be been being it its it's this that these those there with "
        "for as by from his her their my your our he she they i you we him them who which what while has have "
        "had do does not no some very just so than then also up out off s t"
    ),
    "action": (
        "standing sitting walking riding holding eating playing running looking flying wearing lying laying "
        "jumping talking driving using cutting cooking drinking reading working sleeping watching taking "
        "making posing smiling hanging carrying pulling pushing hitting swinging throwing catching kicking "
        "skiing surfing skating skateboarding swimming waiting crossing climbing grazing moving going doing "
        "getting brushing feeding filled covered parked displayed shown showing surrounded decorated stands "
        "sits rides walks plays holds eats"
    ),
    "animal": (
        "animal animals cat cats dog dogs horse horses cow cows sheep bird birds bear bears elephant "
        "elephants zebra zebras giraffe giraffes duck ducks goat lion tiger monkey fish insect butterfly bee "
        "puppy kitten chicken pig"
    ),
    "clothing": (
        "clothing clothes shirt shirts pants jeans dress dresses suit tie hat hats cap jacket coat shoes shoe "
        "boots socks glasses sunglasses helmet gloves scarf uniform skirt shorts necklace bag backpack "
        "handbag purse"
    ),
    "color": (
        "color colors colour colours red blue green yellow purple orange pink brown black white gray grey "
        "cyan gold silver beige colorful dark bright"
    ),
    "company": "company brand logo google nike mcdonald's",
    "composition": (
        "picture pictures photo photograph image images painting drawing view closeup background pattern "
        "patterns collage illustration vector art abstract design portrait frame"
    ),
    "events": "party wedding birthday christmas festival parade ceremony event concert celebration",
    "food & drink": (
        "food foods pizza cake sandwich fruit fruits apple banana bananas oranges broccoli carrot carrots "
        "salad bread cheese meat soup rice coffee tea wine beer drink donut donuts hotdog meal breakfast "
        "lunch dinner dessert chocolate cream cookies sauce vegetables tomato tomatoes lemon"
    ),
    "human attributes": (
        "young old little elderly adult hair hand hands face head eyes mouth beard arm arms leg legs happy "
        "sad smile blonde bald tall"
    ),
    "indoor scene": (
        "room rooms kitchen bathroom bedroom living office restaurant table tables desk chair chairs couch "
        "sofa bed sink toilet shower bathtub cabinet cabinets shelf shelves counter refrigerator oven stove "
        "mirror curtain curtains rug floor wall walls door doors window windows lamp fireplace furniture "
        "indoors inside"
    ),
    "interaction": "together interacting hugging kissing shaking meeting helping each other",
    "location": (
        "city town village country park beach airport station zoo farm museum church school store shop market "
        "hotel london york paris"
    ),
    "material & texture": (
        "wooden wood metal glass plastic stone brick leather paper rubber shiny smooth rough metallic "
        "concrete tile tiled striped"
    ),
    "money": "money dollar dollars coin coins price",
    "movie & game": "movie movies game games video film nintendo wii",
    "nature": (
        "sky cloud clouds water ocean sea lake river mountain mountains hill hills grass field fields forest "
        "woods sand rock rocks sun sunset sunrise moon wave waves desert island light shadow nature landscape"
    ),
    "objects": (
        "object objects thing things box boxes bottle bottles cup cups bowl bowls plate plates knife fork "
        "spoon book books umbrella umbrellas clock clocks vase pot pan basket ball balls toy toys teddy kite "
        "kites scissors candle candles flag flags pillow blanket towel bench statue fire hydrant suitcase "
        "luggage items item toothbrush pole tray"
    ),
    "outdoor scene": (
        "building buildings house houses street streets road roads bridge tower fence sidewalk yard garden "
        "outdoors outside parking roof skyline pier harbor"
    ),
    "person": (
        "man men woman women person people boy boys girl girls child children kid kids baby lady guy player "
        "players group crowd couple family friends someone student students worker human skier surfer "
        "skateboarder rider"
    ),
    "plants & flowers": (
        "tree trees flower flowers plant plants leaf leaves bush bushes rose roses palm branch branches"
    ),
    "position": (
        "left right upper lower top bottom front back middle center side sides corner above below behind near "
        "beside under next between around over across along against through down away"
    ),
    "preposition": "in on at into onto",
    "quantity & number & size": (
        "many several few both pair lot lots bunch number numbers small large big tiny huge long short wide "
        "half multiple single another all more first second"
    ),
    "shape & style & state": (
        "shape shapes circle circles square squares triangle triangles diamond diamonds pentagon hexagon "
        "cross star round cube cubes sphere spheres cylinder cylinders cone modern vintage new clean dirty "
        "empty full open closed broken beautiful nice different various style line lines"
    ),
    "sport": (
        "baseball tennis soccer football basketball skateboard skateboards surfboard surfboards snowboard ski "
        "skis frisbee bat racket racquet skatepark court team"
    ),
    "technology": (
        "computer computers laptop laptops phone cell phones keyboard mouse monitor screen television tv "
        "camera remote microwave tablet electronic device speaker"
    ),
    "text": "text word words letter letters writing name written alphabet",
    "time": "day night morning evening afternoon today time year years summer winter spring",
    "traffic": (
        "car cars truck trucks bus buses train trains motorcycle motorcycles bicycle bicycles bike bikes boat "
        "boats ship airplane airplanes plane planes jet vehicle vehicles traffic stop sign signs highway "
        "track tracks taxi van helicopter wheel"
    ),
    "weather": "rain rainy snow snowy cloudy sunny wind windy storm fog foggy cold hot wet",
}


@cache
def lexicon() -> dict[str, str]:
    """Category of every word.

    Raises:
        ValueError: a word that stands in two categories.
    """
    found: dict[str, str] = dict.fromkeys(NUMBERS, _NUMBER)
    for category, words in _WORDS.items():
        for word in words.split():
            if found.setdefault(word, category) != category:
                raise ValueError(f"{word!r} is in the categories {found[word]} and {category}")
    return found


class LexiconCategoriser:
    """Words of a caption are its parts; function words are none, and words that are not known are UNKNOWN."""

    def categorise(self, captions: list[str]) -> list[list[CaptionPart] | None]:
        """The parts of each caption."""
        return [self._parts(caption) for caption in captions]

    def _parts(self, caption: str) -> list[CaptionPart]:
        known = lexicon()
        parts = [
            CaptionPart(word, _NUMBER if word.isdigit() else known.get(word, UNKNOWN)) for word in words_of(caption)
        ]
        return [part for part in parts if part.category != FUNCTION]


def unknown_words(caption: str) -> tuple[int, int]:
    """Words that the lexicon does not have, and all words."""
    words = words_of(caption)
    return sum(word not in lexicon() and not word.isdigit() for word in words), len(words)
