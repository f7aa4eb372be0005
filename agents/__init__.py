"""Act and learn: rollouts, collection, features, replay and agents."""
