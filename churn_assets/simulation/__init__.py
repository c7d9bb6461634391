"""The demo world run forward through the real parts: waves, a server's callers, scores. Of no use to a shop."""
