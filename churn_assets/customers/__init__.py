"""The customer table: raw rows in, validated and typed customers, folds and features out."""
