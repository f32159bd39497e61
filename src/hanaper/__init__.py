"""hanaper: a self-hosted license server that signs every answer."""

from importlib.metadata import version

__version__ = version("hanaper")
