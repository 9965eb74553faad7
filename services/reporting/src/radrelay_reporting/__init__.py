"""RadRelay reporting: draft, preliminary, final, addendum as FHIR DiagnosticReport."""
