"""The embedded node behind the REST API of a Stardust node, so that any client can talk to it."""

from ledger_client.localnode.http.app import create_node_app

__all__ = ["create_node_app"]
