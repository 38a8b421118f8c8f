"""The stream: commands, codecs, transports and pipelines as values."""
