"""Run commands on hosts: the only part of transferpy that knows ssh, cumin and local processes."""
