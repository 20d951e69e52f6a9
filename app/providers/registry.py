"""Which adapters there are: what installed packages offer under the entry point group `holdfast.adapters`."""

from importlib.metadata import entry_points

from app.providers.adapter import Adapter


def find_adapter(name: str) -> type[Adapter]:
    """The adapter of that name. Raises LookupError when no installed package offers one."""
    for entry_point in entry_points(group="holdfast.adapters", name=name):
        adapter: type[Adapter] = entry_point.load()
        return adapter
    msg = f"there is no adapter {name!r}"
    raise LookupError(msg)
