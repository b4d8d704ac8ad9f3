"""From a model that exists to one for a user's own pictures, in part or as a delta."""
