"""The pages for people at `/console`, served with the API: what is released, what it earns, who decided what."""
