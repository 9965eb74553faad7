"""The `radrelay` command: all seven services in one process, and the tools around them."""
