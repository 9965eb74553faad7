"""Links that open a study in a viewer: signed, short-lived, bound to a caller and mostly to a study (ADR 0015)."""
