from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from binding.backbones.words import UnknownWordError, WordTokenizer
from binding.scenes import GRAMMARS, FewShapes, SplitPolicy, vocabulary

SPLIT: Any = FewShapes(min_objects=0, split=SplitPolicy(train=2, validation=2, test=500)).open("test")
TOKENIZER = WordTokenizer(vocabulary(SPLIT.space), 20)


@pytest.mark.parametrize("grammar", GRAMMARS)
def test_every_caption_survives_the_round_trip(grammar: Any) -> None:
    captions = SPLIT.captions(np.arange(500), grammar, np.random.default_rng(0))
    ids = TOKENIZER.encode(captions)
    assert ids.shape == (500, 20)
    assert TOKENIZER.decode(ids) == captions
    assert (ids[:, 0] == TOKENIZER.start).all()
    assert ((ids == TOKENIZER.end).sum(axis=1) == 1).all()


def test_ids_are_those_of_the_vocabulary_and_the_end_has_the_highest() -> None:
    assert len(TOKENIZER.vocabulary) == 21
    assert (TOKENIZER.pad, TOKENIZER.start, TOKENIZER.end) == (0, 19, 20)
    assert TOKENIZER.encode(["a red"])[0, :5].tolist() == [19, 1, TOKENIZER.vocabulary.index("red"), 20, 0]


def test_an_unknown_word_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownWordError, match="unknown word 'sqare'; the nearest of the 18 known is 'square'"):
        TOKENIZER.encode(["a red sqare"])


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="has 19 words, the model reads 18 at most"):
        TOKENIZER.encode([" ".join(["a"] * 19)])


def test_no_texts_have_no_ids() -> None:
    assert TOKENIZER.encode([]).shape == (0, 20)
    assert TOKENIZER.decode(TOKENIZER.encode([])) == []
