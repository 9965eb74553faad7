"""Derived objects over STOW-RS: what models and viewers made of a study's images, and nothing that names a patient."""
