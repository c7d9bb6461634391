"""The report of a release: what is read of the store, the verdict of it, and the page that shows both."""
