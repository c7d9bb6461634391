"""Fixtures of the toy flows."""

import dagster as dg
import pytest
from toy_flow import metadata_of, toy
from watched_flow import Loop, build, configure

__all__ = ["metadata_of", "toy"]


@pytest.fixture
def loop(tmp_path):
    """The watched flow on an ephemeral instance."""
    configure(tmp_path)
    project, defs = build(tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Loop(tmp_path, instance, project, defs, {})
