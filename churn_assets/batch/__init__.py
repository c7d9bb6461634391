"""Decisions for whole tables, however large: read in parts, decided by the one decider, resumable; see `job`."""
