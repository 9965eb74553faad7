"""What all RadRelay services share: events, ports, adapters, the run loop. No domain rules."""
