"""RadRelay triage: priorities and service-level clocks."""
