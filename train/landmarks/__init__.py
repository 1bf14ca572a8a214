"""How the landmark network is trained."""
