"""What endpoints are written with, and the layers around them."""
