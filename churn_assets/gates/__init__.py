"""What a model must prove after saving: reports, the declaration of a check, plots and the check factory."""
