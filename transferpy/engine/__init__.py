"""One stream from its start to its verdict."""
