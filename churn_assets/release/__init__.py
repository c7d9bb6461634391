"""One immutable, verified set of all models: bundle, evidence, promotion, report, decisions."""
