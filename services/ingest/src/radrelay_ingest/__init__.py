"""RadRelay ingest: the front door: studies over C-STORE and STOW-RS, orders over FHIR."""
