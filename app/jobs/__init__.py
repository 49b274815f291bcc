"""What the worker runs: load, pure call, save; each step idempotent per interval."""
