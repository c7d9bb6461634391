"""Deciding with the models of a release: one decider, its reasons, whole tables, messages. Trains nothing."""
