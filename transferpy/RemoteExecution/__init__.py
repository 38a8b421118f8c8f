"""Commands on hosts: the only part of transferpy that uses ssh, cumin and local processes."""
