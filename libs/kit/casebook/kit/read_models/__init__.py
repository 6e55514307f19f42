"""Read models: projections, their generations, and how they are made anew."""
