"""RadRelay anonymize: PS3.15 de-identification and the identity vault."""
