"""Campaigns that chance decides: planned, assigned, checked after they were sent, and read back as a log."""
