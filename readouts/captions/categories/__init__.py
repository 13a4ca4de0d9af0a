"""What captions speak of: their parts by category, from a lexicon, a language model, or stored answers."""
