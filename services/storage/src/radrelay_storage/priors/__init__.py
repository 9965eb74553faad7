"""Earlier studies of the same pseudonymous patient, and why each is worth a look."""
