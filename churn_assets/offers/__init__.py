"""Offers made and what came of them: the log's contract, the economics of an offer, the demo world that writes a log."""
