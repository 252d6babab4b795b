"""The built-in traffic world: recorded traffic, painted as a traffic camera sees it."""
