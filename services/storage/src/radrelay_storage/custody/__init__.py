"""The custody ledger: what happened to every instance from receipt to delivery, so that nothing changes silently."""
