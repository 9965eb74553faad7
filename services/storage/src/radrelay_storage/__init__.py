"""RadRelay storage: packs of de-identified studies behind QIDO-RS and WADO-RS."""
