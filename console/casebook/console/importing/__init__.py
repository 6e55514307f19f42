"""Importers: other systems' history, published through the same door as any live event."""
