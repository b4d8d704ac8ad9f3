"""Training of crackgeo's models: data, augmentation, losses, metrics, the loop and its configs."""
