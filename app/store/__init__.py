"""The only place that turns rows into domain objects and back."""
