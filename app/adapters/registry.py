"""Which adapters there are: one file and one entry point in the group `holdfast.adapters` for each."""

from importlib.metadata import entry_points

from app.adapters.adapter import Adapter

GROUP = "holdfast.adapters"


def adapter_names() -> list[str]:
    """The names of all adapters that are installed, in order."""
    return sorted(entry_points(group=GROUP).names)


def find_adapter(name: str) -> type[Adapter]:
    """The adapter of that name. Raises ValueError, in an admin's words, if none is installed or it cannot be loaded."""
    found = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    if len(found) != 1:
        known = ", ".join(adapter_names())
        told = "installed twice" if found else f"not installed; installed are {known}"
        msg = f"the adapter {name!r} is {told}"
        raise ValueError(msg)
    try:
        adapter: type[Adapter] = found[0].load()
    except Exception as error:  # noqa: BLE001 - it is somebody else's file
        msg = f"the adapter {name!r} cannot be loaded: {type(error).__name__}: {error}"
        raise ValueError(msg) from None
    return adapter
