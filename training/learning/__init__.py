"""How a network learns: networks, losses, teachers, and the run that a configuration describes."""
