"""Decide: the preflight query, the checks and the plan."""
