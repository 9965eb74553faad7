"""How long a study is kept, what stops its deletion, and how two people delete it."""
