"""The site of the documentation: pages that are generated from the code, beside those that are written by hand."""
