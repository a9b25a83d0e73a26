"""Where private keys are held that this process cannot have: adapters of `mtls_as.server.ports.ExternalSigners`."""
