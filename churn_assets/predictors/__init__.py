"""Models as plain arrays, and the one evaluator of them. Numpy only: nothing here fits or loads a library's model."""
