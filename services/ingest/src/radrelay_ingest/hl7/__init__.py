"""HL7 v2: a small reader, what RadRelay takes from orders and patient messages, and acknowledgements. MLLP and HTTP."""
