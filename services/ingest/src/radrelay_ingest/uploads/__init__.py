"""Resumable uploads for weak links (tus 1.0): bytes come in any number of pieces, then become instances."""
