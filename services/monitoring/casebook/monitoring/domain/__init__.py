"""Pure rules of monitoring: no input or output, no clock, no chance."""
