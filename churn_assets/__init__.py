"""A retention platform: one folder a stage, left to right as a row of data walks the graph."""
