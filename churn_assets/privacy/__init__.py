"""Personal data: where they are, who asked for them, how long they stay, and how a person is erased."""
