"""The way from each version of the schema to the next. Run by `mtls_as.storage.migrate`, never by hand."""
