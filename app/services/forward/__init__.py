"""Forward sessions: orders until gate closure, what they came to, and their pages."""
