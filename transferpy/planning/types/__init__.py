"""The transfer types: query, checks, reading and unpacking; one module for each type."""

from importlib import import_module

from transferpy.planning.types.strategy import TransferTypeStrategy

__all__ = ["TransferTypeStrategy", "transfer_type_strategy"]


def transfer_type_strategy(name: str) -> TransferTypeStrategy:
    """Return the strategy of the transfer type of that name, from the module of that name."""
    strategy: TransferTypeStrategy = import_module(f"{__name__}.{name}").STRATEGY
    return strategy
