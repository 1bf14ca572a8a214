"""How the hand networks are trained."""
