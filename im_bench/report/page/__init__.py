"""One self-contained page that tells how suites went: read from files, drawn without a network."""
