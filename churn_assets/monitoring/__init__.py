"""Watching what runs: what calls for a retraining, and how it is asked for. Trains nothing, moves no channel."""
