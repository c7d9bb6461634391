"""What may be said: profiles, prompts, quantities, safety rules and the plain template. Needs no language model."""
