"""Offers made and what came of them: the log's contract and the demo world that writes a log. No models."""
