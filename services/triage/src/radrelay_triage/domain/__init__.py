"""Pure rules of triage: who reads it (subspecialty), how fast (contract), and why."""
