"""Sites, orders and studies at the front door: what belongs together, and when it is whole. Pure rules."""
