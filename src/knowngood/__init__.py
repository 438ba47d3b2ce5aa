"""Knowngood: continuous data protection with proven recovery, per service."""


def __getattr__(name: str) -> str:
    """`__version__`, looked up when somebody asks: reading a package's metadata takes longer than starting."""
    if name != "__version__":
        raise AttributeError(f"module 'knowngood' has no attribute '{name}'")
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version("knowngood")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
