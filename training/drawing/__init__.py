"""What is drawn: pavements, walls, scenes without a crack, cables and shadows over a picture."""
