"""What is said in a message, language by language: one file each. Data only; explain.py reads it."""
