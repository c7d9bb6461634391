"""The one front door for tables: a source gives raw columns, one set of parsers reads them, all problems are told."""
