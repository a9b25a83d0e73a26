"""`python -m mtls_as.cli` is `mtls-as`."""

from mtls_as.cli import main

main()
