"""Words: a corpus, the language models trained on it, and the rules that decide whether a text may be sent."""
