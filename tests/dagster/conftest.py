"""Fixtures of the toy flow."""

from toy_flow import metadata_of, toy

__all__ = ["metadata_of", "toy"]
