"""What assets ask Dagster for: artifact store and IO manager, experiment, data source, compute."""
