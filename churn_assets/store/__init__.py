"""The ground floor: immutable, verified artifacts and the channels that say which of them is current."""
