"""How a read model is made anew from the log while the old one serves."""
