"""Reading what people wrote: settings, their sources and their mistakes. No torch."""
