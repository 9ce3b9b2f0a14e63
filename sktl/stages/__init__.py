"""How a network is cut into stages: what it does, call by call, and where a single tensor crosses."""

__all__: list[str] = []
