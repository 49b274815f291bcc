"""The gateway as a process of its own, for a small box near the meters (docs/gateway.md)."""
