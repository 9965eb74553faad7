"""Pure rules of assignment: who may read what, who is chosen, and the life of a workitem."""
