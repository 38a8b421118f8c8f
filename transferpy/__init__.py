"""Copy files, trees and MariaDB data between the hosts of a fleet, directly from source to target."""

__version__ = "1.0.0"
