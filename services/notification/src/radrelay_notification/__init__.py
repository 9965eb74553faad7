"""RadRelay notification: signed webhooks to the hospitals that own the patients."""
