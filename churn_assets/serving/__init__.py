"""Serving a release: decisions and messages over HTTP, the decision log, hot reload. Trains nothing."""
