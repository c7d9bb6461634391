"""Messages and preference pairs to learn from: written by rule or read from files, and what they must prove."""
