"""Language models as saved: formats, generation, scores, and what they must prove."""
